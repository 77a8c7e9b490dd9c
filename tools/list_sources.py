#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints every .c file below a folder, one a line, sorted: what the build takes as the sources of a room."""
import pathlib
import sys

root = pathlib.Path(sys.argv[1])
pattern = sys.argv[2] if len(sys.argv) > 2 else "*.c"
for path in sorted(root.rglob(pattern)):
    print(path)
