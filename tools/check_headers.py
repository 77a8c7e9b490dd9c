#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles every header of src/ alone: each includes what it needs."""
import concurrent.futures
import pathlib
import subprocess
import sys

root = pathlib.Path(__file__).resolve().parent.parent
flags = subprocess.run(["pkg-config", "--cflags", "libbson-1.0", "libmongoc-1.0"], capture_output=True, text=True).stdout.split()


def compile_alone(path):
    name = path.relative_to(root / "src")
    text = f'#include "{name}"\n#include "{name}"\ntypedef int hf_not_empty;\n'
    done = subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", '-DHF_VERSION="check"', "-DHF_FAULTS", "-Wall", "-Wextra", "-Werror",
                           "-fsyntax-only", "-I", str(root / "src"), *flags, "-x", "c", "-"],
                          input=text, capture_output=True, text=True)
    return None if done.returncode == 0 else f"src/{name} does not compile alone:\n{done.stderr.strip()}"


with concurrent.futures.ThreadPoolExecutor(2) as pool:
    faults = [fault for fault in pool.map(compile_alone, sorted((root / "src").rglob("*.h"))) if fault]
for fault in faults:
    print(fault)
sys.exit(1 if faults else 0)
