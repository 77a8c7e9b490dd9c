#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the tests and ends with "N passed, N failed, N skipped".

usage: test.py [--soak] [PART]...      parts: checks unit tsan clang fuzz integration; none means all

A program under tests/{unit,contract,property,torture,crash} counts each of its cmocka tests; a Python file under
tests/integration and tests/interop counts each of its unittest methods. HOLDFAST_TEST_MONGOD names a real mongod for
the integration tests; without it they start the sandbox. FUZZ_SECONDS says for how long each fuzz target runs (3; in a soak 3600).
"""
import concurrent.futures
import itertools
import json
import os
import pathlib
import re
import subprocess
import sys
import time

root = pathlib.Path(__file__).resolve().parent.parent
os.chdir(root)
PARTS = ["checks", "unit", "tsan", "clang", "fuzz", "integration"]
# How many run at a time on two cores: a test with real processes needs less than half a core, a program's tests wait now and then.
FILES_AT_ONCE, PROGRAMS_AT_ONCE = 4, 3


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.failures = []

    def add(self, name, passed, failed, skipped, seconds, output=""):
        self.passed, self.failed, self.skipped = self.passed + passed, self.failed + failed, self.skipped + skipped
        state = "FAIL" if failed else ("skip" if not passed else "ok")
        print(f"{state:4}  {name}  ({passed} passed{f', {failed} failed' if failed else ''}"
              f"{f', {skipped} skipped' if skipped else ''}; {seconds:.1f} s)", flush=True)
        if failed:
            self.failures.append(name)
            lines = [f"{line}  ({count} times)" if count > 1 else line
                     for line, count in ((line, len(list(same))) for line, same in itertools.groupby(output.strip().splitlines()))]
            print("\n".join("      " + line for line in lines[-60:]), flush=True)


def run(command, limit, env=None):
    """Runs with a time limit; the whole process group goes when it is over."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                               stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})}, start_new_session=True)
    try:
        output, _ = process.communicate(timeout=limit)
        code = process.returncode
    except subprocess.TimeoutExpired:
        try:
            os.killpg(process.pid, 9)
        except ProcessLookupError:
            pass
        output, _ = process.communicate()
        code, output = 124, output + f"\nkilled: took longer than {limit} s"
    return code, output, time.monotonic() - start


def build(flavour, tally):
    code, output, seconds = run(["tools/build.sh", flavour], 1800)
    tally.add(f"build {flavour}", int(code == 0), int(code != 0), 0, seconds, output)
    return code == 0


def checks(tally, soak):
    commands = [["tools/check_rooms.py"], ["tools/check_code.py"], ["tools/check_faults.py"], ["tools/check_headers.py"], ["tools/check_format.sh"],
                ["tools/check_symbols.py", "build/test"]]
    if pathlib.Path("docs/design/threads.md").exists():
        commands.append(["tools/check_docs.py"])
    for command in commands:
        code, output, seconds = run(command, 300)
        tally.add("check " + pathlib.Path(command[0]).stem.removeprefix("check_"), int(code == 0), int(code != 0), 0, seconds, output)


def cmocka(tally, flavour, kinds, prefix, limit, soak):
    listing = subprocess.run(["meson", "introspect", "--tests", f"build/{flavour}"], capture_output=True, text=True, check=True)
    tests = [test for test in json.loads(listing.stdout) if test["name"].split("/")[0] in kinds]
    tests.reverse()  # the longest come last there: one of them would be left alone at the end

    def one(test):
        env = {**test["env"], "CMOCKA_MESSAGE_OUTPUT": "STDOUT", "HOLDFAST_SOAK": "1" if soak else ""}
        return test["name"], *run(prefix + test["cmd"], limit, env)

    with concurrent.futures.ThreadPoolExecutor(PROGRAMS_AT_ONCE) as pool:
        for name, code, output, seconds in pool.map(one, tests):
            ran = sum(int(n) for n in re.findall(r"(\d+) test\(s\) run", output))
            passed = sum(int(n) for n in re.findall(r"\[  PASSED  \] (\d+) test", output))
            skipped = sum(int(n) for n in re.findall(r"\[  SKIPPED \] (\d+) test", output))
            failed = max(ran - passed - skipped, int(code != 0))
            tally.add(f"{flavour} {name}", min(passed, ran), failed, skipped, seconds, output)


def unit(tally, soak):
    cmocka(tally, "test", ("unit", "contract", "property", "torture", "crash"), [], 7200 if soak else 480, soak)


def tsan(tally, soak):
    if not build("tsan", tally):
        return
    # The thread sanitizer cannot place its shadow where the kernel's address randomisation is wide.
    # Libraries are not built with it: what they do among themselves (WiredTiger, libbson) looks like races.
    os.environ["TSAN_OPTIONS"] = "ignore_noninstrumented_modules=1"
    cmocka(tally, "tsan", ("unit", "contract"), ["setarch", "-R"], 400, soak)


def clang(tally, soak):
    build("clang", tally)


def fuzz(tally, soak):
    if not build("fuzz", tally):
        return
    # By default an hour for each in a soak; FUZZ_SECONDS sets what one target gets, here and there.
    seconds = int(os.environ.get("FUZZ_SECONDS") or (3600 if soak else 3))
    targets = sorted(pathlib.Path("build/fuzz/tests/fuzz").glob("*_fuzz"))

    def one(target):
        name = target.name.removesuffix("_fuzz")
        grown = pathlib.Path("build/fuzz/corpus") / name
        grown.mkdir(parents=True, exist_ok=True)
        seeds = pathlib.Path("tests/fuzz/corpus") / name
        command = [str(target), f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=2048", "-max_len=65536",
                   f"-artifact_prefix=build/fuzz/{name}-", str(grown)]
        if not soak:
            command.append("-seed=1")  # the same inputs everywhere: a search that finds something new belongs into a soak
        if seeds.is_dir():
            command.append(str(seeds))
        # Some decoders read files.
        return name, *run(command, seconds + 120, {"TMPDIR": "/dev/shm"} if os.access("/dev/shm", os.W_OK) else None)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for name, code, output, took in pool.map(one, targets):
            tally.add(f"fuzz {name}", int(code == 0), int(code != 0), 0, took, output)


def integration(tally, soak):
    env = {"HOLDFAST": str(root / "build/test/src/holdfast"), "HOLDFAST_SANDBOX": str(root / "build/test/src/holdfast-sandbox"),
           "HOLDFAST_SOAK": "1" if soak else "", "ASAN_OPTIONS": "detect_leaks=0", "PYTHONDONTWRITEBYTECODE": "1"}
    files = sorted(pathlib.Path("tests/integration").glob("test_*.py")) + sorted(pathlib.Path("tests/interop").glob("test_*.py"))
    # The largest begin, or one of them would be left alone at the end.
    files.sort(key=lambda file: file.stat().st_size, reverse=True)

    def one(file):
        return file, *run(["/usr/bin/python3", str(file)], 7200 if soak else 1200, env)

    with concurrent.futures.ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        for file, code, output, seconds in pool.map(one, files):
            ran = sum(int(n) for n in re.findall(r"^Ran (\d+) tests? in", output, re.M))
            counts = dict(re.findall(r"(failures|errors|skipped)=(\d+)", output))
            skipped = int(counts.get("skipped", 0))
            failed = int(counts.get("failures", 0)) + int(counts.get("errors", 0))
            if code != 0 and failed == 0:
                failed = 1
            tally.add(str(file), max(ran - failed - skipped, 0), failed, skipped, seconds, output)


def main():
    words = sys.argv[1:]
    soak = "--soak" in words
    parts = [word for word in words if not word.startswith("-")] or PARTS
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        sys.exit(f"test.py: no part named {unknown[0]}; there are: {' '.join(PARTS)}")
    tally = Tally()
    if any(part in ("checks", "unit", "integration") for part in parts) and not build("test", tally):
        parts = []
    for part in parts:
        print(f"-- {part}", flush=True)
        globals()[part](tally, soak)
    for name in tally.failures:
        print(f"failed: {name}", flush=True)
    print(f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped", flush=True)
    return 1 if tally.failed or not tally.passed else 0


sys.exit(main())
