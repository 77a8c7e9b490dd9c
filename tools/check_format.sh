#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# clang-format 14 (Debian 12) says how C looks; this only looks. `make fmt` writes.
cd "$(dirname "$0")/.." || exit 1
case "$(clang-format --version)" in
*"version 14."*) ;;
*) echo "check_format: clang-format 14 is the pinned version, found: $(clang-format --version)"; exit 1 ;;
esac
find src tests bench -name node_modules -prune -o -name '*.[ch]' -print0 | xargs -0 clang-format --dry-run -Werror 2>&1 | grep -E 'error:' | head -n 40 | grep . && exit 1
exit 0
