# SPDX-License-Identifier: Apache-2.0
"""What all parts of the bench measure with: places, sizes, trees of files, the page cache, commands and what they cost.

Knows no contestant and no work.
"""
import errno
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
WORK = ROOT / "build" / "bench"
PROGRAMS = WORK / "programs" / "bench"
MIB = 1 << 20
UNITS = {"": 1, "k": 1 << 10, "m": MIB, "g": 1 << 30, "t": 1 << 40}


def parse_size(text):
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", text.strip().lower())
    if not match:
        raise SystemExit(f"bench: '{text}' is not a size: 2GiB, 256M, 20g")
    return int(float(match[1]) * UNITS[match[2]])


# ---- Files ----


def files_below(top):
    for directory, names, files in os.walk(top):
        names.sort()
        for name in sorted(files):
            yield os.path.join(directory, name)


def size_below(top):
    return sum(os.lstat(path).st_size for path in files_below(top))


def tree_hash(top):
    """One hash over path, mode and content of every file."""
    whole = hashlib.sha256()
    for path in files_below(top):
        one = hashlib.sha256()
        with open(path, "rb") as file:
            while piece := file.read(MIB):
                one.update(piece)
        mode = os.stat(path).st_mode & 0o7777
        whole.update(f"{os.path.relpath(path, top)}\0{mode:o}\0{one.hexdigest()}\n".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()


def sync_below(top):
    for path in list(files_below(top)) + [directory for directory, _, _ in os.walk(top)]:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def warm(paths):
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            while file.read(MIB):
                pass


def chill(paths):
    """Drops the files' pages from the page cache; no right is needed for one's own files, and nobody else's pages go."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def link_tree(source, to):
    """The same files once more at another path: hard links, or copies where the file system is another. Equal inodes and
    times matter to tools that look at them. What is there already is left alone."""
    for directory, _, files in os.walk(source):
        here = os.path.join(to, os.path.relpath(directory, source))
        os.makedirs(here, exist_ok=True)
        for name in files:
            path, target = os.path.join(directory, name), os.path.join(here, name)
            if os.path.exists(target) and os.path.samefile(path, target):
                continue
            try:
                os.link(path, target)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EPERM):
                    raise
                shutil.copy2(path, target)


def clear(path):
    if path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        path.unlink()


# ---- Running ----


def status_bytes(pid, name):
    """VmRSS, VmHWM (the most it ever was)."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        for line in status:
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
    raise Failed(f"process {pid} has ended")


class Failed(Exception):
    pass


class Cost:
    def __init__(self, seconds, cpu_s, peak_bytes):
        self.seconds, self.cpu_s, self.peak_bytes = seconds, cpu_s, peak_bytes


def call(argv, cwd=None, env=None, written=None, log=None):
    """Runs it; the time ends when what it wrote (a directory) is synced. CPU and memory are its own and its children's."""
    with open(log or os.devnull, "ab") as err:
        began = time.monotonic()
        process = subprocess.Popen([str(word) for word in argv], cwd=cwd, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=err)
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stdout.close()
        if process.returncode != 0:
            raise Failed(f"{' '.join(map(str, argv))[:200]} ended with {process.returncode}; log: {log}")
        if written:
            sync_below(written)
        seconds = time.monotonic() - began
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024), output
