#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing to build and test; does nothing, and needs no network, when all is there.
# usage: setup.sh [test]   test: the drivers of the tours too
set -u
cd "$(dirname "$0")/.." || exit 1

list=packaging/debian-packages.txt
if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "setup: this machine has no dpkg; install the equivalents of the packages in $list by hand, then run make build" >&2
    exit 1
fi

# A program that the machine brought by other means than Debian's package counts as there.
have() {
    case "$1" in
    nodejs) command -v node >/dev/null 2>&1 && return 0 ;;
    npm) command -v npm >/dev/null 2>&1 && return 0 ;;
    python3) [ -x /usr/bin/python3 ] && return 0 ;;
    esac
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=
for package in $(sed 's/#.*//' "$list"); do
    have "$package" || missing="$missing $package"
done
if [ -n "$missing" ]; then
    echo "setup: installing:$missing"
    if [ "$(id -u)" = 0 ]; then
        root=
    elif command -v sudo >/dev/null 2>&1; then
        root=sudo
    else
        echo "setup: these Debian packages are missing and installing needs root or sudo:$missing" >&2
        exit 1
    fi
    log=$(mktemp)
    if ! { $root apt-get update && $root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
        tail -n 15 "$log" >&2
        echo "setup: apt-get could not install:$missing (whole log: $log)" >&2
        exit 1
    fi
    rm -f "$log"
fi

# The drivers that tour the sandbox, pinned by their lock file. Without a registry the tours are skipped, and say so.
tours=tests/integration/tours
if [ "${1:-}" = test ] && command -v npm >/dev/null 2>&1 && [ ! -d "$tours/node_modules/mongosh" ]; then
    echo "setup: installing the drivers of the tours"
    (cd "$tours" && npm ci --ignore-scripts --no-audit --no-fund >/dev/null 2>&1) ||
        echo "setup: npm could not install them; the tours will be skipped" >&2
fi
