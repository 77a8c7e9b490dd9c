# SPDX-License-Identifier: Apache-2.0
"""Small disks of a test's own, which fill, free, and become read-only while processes work on them; and descriptors that run out.

Where the test may mount, a disk is a tmpfs and the kernel says no. Elsewhere (a plain container, another user) a library is
preloaded into the processes and says no in its stead: shim.c. HOLDFAST_TEST_DISKS=shim chooses the second everywhere.
"""
import contextlib
import errno
import os
import pathlib
import resource
import shutil
import subprocess
import threading
import time

from harness import wait_for

HERE = pathlib.Path(__file__).resolve().parent


class MountedDisk:
    """A tmpfs. fill() leaves no room for a single page, whatever the processes give back meanwhile, until free()."""

    kind = "tmpfs"

    def __init__(self, directory, size):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "none", self.dir], check=True, capture_output=True)
        self.filler, self.going, self.thread = self.dir / ".filler", threading.Event(), None

    def _grab(self, fd):
        """Takes all that is free; the number of bytes."""
        got, size = 0, 1 << 20
        while size:
            try:
                got += os.write(fd, b"\0" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                size //= 16
        return got

    def _hog(self, fd, full):
        while self.going.is_set():
            self._grab(fd)
            full.set()
            time.sleep(0.001)
        os.close(fd)

    def fill(self):
        """Returns when nothing more fits."""
        assert self.thread is None
        full = threading.Event()
        self.going.set()
        fd = os.open(self.filler, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.thread = threading.Thread(target=self._hog, args=(fd, full), daemon=True)
        self.thread.start()
        assert full.wait(60)
        return self

    def free(self):
        if self.thread is not None:
            self.going.clear()
            self.thread.join()
            self.thread = None
            self.filler.unlink()

    def _remount(self, option):
        # Refused while a file is open for writing.
        wait_for(lambda: subprocess.run(["mount", "-o", f"remount,{option}", self.dir], capture_output=True).returncode == 0,
                 f"{self.dir} to become {option}", every=0.005)

    def resize(self, size):
        """To so many bytes."""
        self._remount(f"size={size}")

    def used(self):
        stats = os.statvfs(self.dir)
        return (stats.f_blocks - stats.f_bfree) * stats.f_frsize

    def read_only(self):
        self._remount("ro")

    def writable(self):
        self._remount("rw")

    def close(self):
        self.going.clear()
        if self.thread is not None:
            self.thread.join()
        subprocess.run(["umount", "-l", self.dir], capture_output=True)


class Shim:
    """The library, and the rules that the processes of a test obey which were started with env."""

    def __init__(self, scratch):
        self.rules_path = scratch.dir / "shim.rules"
        self.rules = []
        library = scratch.dir / "shim.so"
        subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-o", library, HERE / "shim.c", "-ldl"], check=True)
        asan = scratch.env.get("ASAN_OPTIONS", "")
        self.env = {"LD_PRELOAD": str(library), "HOLDFAST_SHIM": str(self.rules_path),
                    "ASAN_OPTIONS": f"{asan}:verify_asan_link_order=0".lstrip(":")}
        self._write()

    def _write(self):
        new = self.rules_path.with_suffix(".new")
        new.write_text("".join(f"{word} {path}\n" for word, path in self.rules))
        new.rename(self.rules_path)

    def add(self, word, path):
        self.rules.append((word, str(path)))
        self._write()

    def remove(self, word, path):
        with contextlib.suppress(ValueError):
            self.rules.remove((word, str(path)))
        self._write()


class ShimmedDisk:
    kind = "shim"

    """Without resize() it has room for everything, but when it is full."""

    def __init__(self, directory, shim):
        self.dir, self.shim, self.rule = pathlib.Path(directory), shim, None
        self.dir.mkdir(parents=True, exist_ok=True)

    def resize(self, size):
        if self.rule is not None:
            self.shim.remove(self.rule, self.dir)
        self.rule = f"size:{size}"
        self.shim.add(self.rule, self.dir)

    def used(self):
        return sum(path.stat().st_blocks * 512 for path in self.dir.rglob("*") if path.is_file())

    def fill(self):
        self.shim.add("full", self.dir)
        return self

    def free(self):
        self.shim.remove("full", self.dir)

    def read_only(self):
        self.shim.add("readonly", self.dir)

    def writable(self):
        self.shim.remove("readonly", self.dir)

    def close(self):
        pass  # the processes that obey the rules are gone, and the rules with them


class Disks:
    """The disks of a test class. env goes to every process that works on them. kind: of all of them, else what the machine allows."""

    def __init__(self, scratch, kind=None):
        self.scratch, self.made, self.shim, self.env = scratch, [], None, {}
        kind = kind or os.environ.get("HOLDFAST_TEST_DISKS")
        if kind is None:
            try:
                probe = MountedDisk(scratch.dir / "probe", "1m")
                probe.close()
                kind = "tmpfs"
            except (OSError, subprocess.CalledProcessError):
                kind = "shim"
        self.kind = kind
        if kind == "shim":
            self.shim = Shim(scratch)
            self.env = self.shim.env

    def make(self, name, size):
        directory = self.scratch.dir / name
        disk = MountedDisk(directory, size) if self.shim is None else ShimmedDisk(directory, self.shim)
        self.made.append(disk)
        return disk

    def close(self):
        for disk in self.made:
            disk.close()


# ---- Descriptors ----


def descriptors(process):
    return len(os.listdir(f"/proc/{process.popen.pid}/fd"))


def limit_descriptors(process, more):
    """The running process may open so many descriptors more than it has now; what it had before is returned, for lift_limit()."""
    pid = process.popen.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used, number = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}, 0
    # The limit is on a descriptor's number: up to it, so many are free.
    while number in used or more > 0:
        more -= number not in used
        number += 1
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (number, before[1]))
    return before


def lift_limit(process, before):
    if process.alive():
        resource.prlimit(process.popen.pid, resource.RLIMIT_NOFILE, before)


# ---- Rights ----


def obeying():
    """Words to put before a command so that it obeys permission bits, which root does not; None where that cannot be done."""
    with open("/proc/self/status") as status:
        caps = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff:"))
    if not caps & 0b110:  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        return []
    words = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--"]
    return words if subprocess.run([*words, "true"], capture_output=True).returncode == 0 else None


# ---- Files ----


def copy_short(path, size):
    """Content of a file cut to size, under the same name; the old inode keeps its content for who has it open."""
    aside = path.with_name(path.name + ".aside")
    path.rename(aside)
    shutil.copyfile(aside, path)
    os.truncate(path, size)
    return aside
