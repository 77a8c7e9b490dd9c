# SPDX-License-Identifier: Apache-2.0
"""The contestants: how each tool is told to do each work. What they did is timed, checked and compared in contest.py.

Works: full (capture), same (nothing changed), same_read (nothing changed, but read all), changed (the source is another
state of the same directory), restore (what `full` captured, into an empty directory), restore_changed (what `changed`
captured, likewise), onto (that, onto what `restore` left), verify.
"""
import json
import shutil
import subprocess

from measure import PROGRAMS, WORK, call, clear


class Tool:
    """One contestant: `store` is its repository, below a directory of its own."""

    needs = ()
    works = ("full", "same", "same_read", "restore", "changed", "verify")

    def __init__(self, scratch, source):
        self.dir, self.source = scratch / self.name, source
        self.store = self.dir / "store"
        self.log = WORK / f"{self.name}.log"
        self.env = {}

    @classmethod
    def missing(cls):
        return [program for program in cls.needs if not shutil.which(program)]

    @classmethod
    def version(cls):
        """The first line of what `cls.version_command` prints."""
        command = getattr(cls, "version_command", None)
        if command is None or cls.missing():
            return None
        return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode().splitlines()[0].strip(" *")

    def prepare(self):
        clear(self.dir)
        self.store.mkdir(parents=True)
        self.new_bytes = None  # of the last capture: what it found to be new, before compression, where the tool says so

    def can_restore_onto(self):
        """Makes of a directory with other files the snapshot, writing what differs."""
        return False

    def call(self, argv, **more):
        return call(argv, env=self.env, log=self.log, **more)[0]


class Holdfast(Tool):
    name, title = "holdfast", "Holdfast (zstd 1, AES-256-GCM)"
    needs = (str(PROGRAMS / "store_bench"),)

    def prepare(self):
        clear(self.dir)
        self.dir.mkdir(parents=True)
        self.details, self.new_bytes = {}, None

    def bench(self, work, *arguments, **more):
        cost, output = call([PROGRAMS / "store_bench", *arguments], log=self.log, **more)
        self.details[work] = json.loads(output)
        self.new_bytes = self.details[work].get("new_bytes")
        cost.peak_bytes = self.details[work]["peak_bytes"]
        return cost

    def capture(self, work, *more):
        cost = self.bench(work, "capture", self.source, self.store, *more, written=self.dir)
        self.snapshot = self.details[work]["id"]
        return cost

    def full(self):
        return self.capture("full")

    def same(self):
        return self.capture("same", "--parent")

    def same_read(self):
        return self.capture("same_read", "--parent", "--read-all")

    def changed(self):
        return self.capture("changed", "--parent")

    def restore(self, to):
        return self.bench("restore", "restore", self.store, self.snapshot, to, written=to)

    def can_restore_onto(self):
        return True

    def onto(self, to):
        return self.bench("onto", "restore", self.store, self.snapshot, to, "--onto", written=to)

    def verify(self):
        return self.bench("verify", "verify", self.store)


class Restic(Tool):
    name, title = "restic", "restic (zstd auto, AES-256-CTR)"
    program = "restic"
    needs = ("restic",)
    version_command = ("restic", "version")

    @classmethod
    def use(cls, program):
        cls.program, cls.needs, cls.version_command = program, (program,), (program, "version")

    def prepare(self):
        super().prepare()
        self.env = {"RESTIC_PASSWORD": "bench", "RESTIC_REPOSITORY": str(self.store), "RESTIC_CACHE_DIR": str(self.dir / "cache")}
        self.call([self.program, "init", "--repository-version", "2", "-q"])

    def backup(self, *more):
        cost, output = call([self.program, "backup", "-q", "--json", *more, "."], env=self.env, log=self.log, cwd=self.source, written=self.store)
        summary = json.loads(output.splitlines()[-1])
        self.new_bytes = summary["data_added"]
        return cost

    def full(self):
        return self.backup()

    def same(self):
        return self.backup()

    def same_read(self):
        return self.backup("--force")

    def changed(self):
        return self.backup()

    def restore(self, to):
        return self.call([self.program, "restore", "-q", "latest", "--target", to], written=to)

    restore_changed = restore

    def can_restore_onto(self):
        """Since 0.17: what is equal by content is left alone, what is not in the snapshot is deleted."""
        return b"--delete" in subprocess.run([self.program, "restore", "--help"], stdout=subprocess.PIPE, check=True).stdout

    def onto(self, to):
        return self.call([self.program, "restore", "-q", "latest", "--target", to, "--overwrite", "always", "--delete"], written=to)

    def verify(self):
        return self.call([self.program, "check", "-q", "--read-data"])


class Kopia(Tool):
    name, title = "kopia", "kopia (zstd fastest, AES-256-GCM)"
    program = "kopia"
    needs = ("kopia",)
    version_command = ("kopia", "--version")

    @classmethod
    def use(cls, program):
        cls.program, cls.needs, cls.version_command = program, (program,), (program, "--version")

    def prepare(self):
        super().prepare()
        self.env = {"KOPIA_PASSWORD": "bench", "KOPIA_CONFIG_PATH": str(self.dir / "config"), "KOPIA_CACHE_DIRECTORY": str(self.dir / "cache"),
                    "KOPIA_LOG_DIR": str(self.dir / "logs"), "KOPIA_CHECK_FOR_UPDATES": "false"}
        self.call([self.program, "repository", "create", "filesystem", "--path", self.store, "--block-hash", "HMAC-SHA256-128",
                   "--encryption", "AES256-GCM-HMAC-SHA256"])
        self.call([self.program, "policy", "set", "--global", "--compression", "zstd-fastest"])

    def create(self, *more):
        cost, output = call([self.program, "snapshot", "create", "--json", "--no-progress", *more, self.source], env=self.env, log=self.log, written=self.store)
        self.snapshot = json.loads(output)["id"]
        return cost

    def full(self):
        return self.create()

    def same(self):
        return self.create()

    def same_read(self):
        return self.create("--force-hash=100")

    def changed(self):
        return self.create()

    def restore(self, to):
        return self.call([self.program, "snapshot", "restore", "--no-progress", self.snapshot, to], written=to)

    restore_changed = restore

    def verify(self):
        return self.call([self.program, "snapshot", "verify", "--verify-files-percent=100"])


class Borg(Tool):
    name, title = "borg", "borg (zstd 1, AES-256-CTR)"
    needs = ("borg",)
    version_command = ("borg", "--version")

    def prepare(self):
        super().prepare()
        self.env = {"BORG_PASSPHRASE": "bench", "BORG_REPO": str(self.store), "BORG_BASE_DIR": str(self.dir / "base")}
        (self.dir / "base").mkdir()
        self.call(["borg", "init", "-e", "repokey"])

    def create(self, name, *more):
        return self.call(["borg", "create", "--compression", "zstd,1", *more, f"::{name}", "."], cwd=self.source, written=self.store)

    def full(self):
        return self.create("full")

    def same(self):
        return self.create("same")

    def same_read(self):
        return self.create("same_read", "--files-cache=disabled")

    def changed(self):
        return self.create("changed")

    def restore(self, to):
        return self.call(["borg", "extract", "::full"], cwd=to, written=to)

    def restore_changed(self, to):
        return self.call(["borg", "extract", "::changed"], cwd=to, written=to)

    def verify(self):
        return self.call(["borg", "check", "--verify-data"])


class Tar(Tool):
    name, title = "tar", "tar, zstd -1 -T0"
    needs = ("tar", "zstd", "bash")
    version_command = ("zstd", "--version")
    works = ("full", "restore", "verify")

    def shell(self, script, **more):
        return self.call(["bash", "-c", "set -o pipefail; " + script, "bash", self.source, self.store / "all.tar.zst"], **more)

    def full(self):
        return self.shell('tar -C "$1" -cf - . | zstd -q -1 -T0 -o "$2"', written=self.store)

    def restore(self, to):
        return self.shell('zstd -q -dc "$2" | tar -xf -', cwd=to, written=to)

    def verify(self):
        return self.shell('zstd -q -t "$2"')


class Copy(Tool):
    name, title = "cp", "cp -a"
    needs = ("cp",)
    version_command = ("cp", "--version")
    works = ("full", "restore")

    def full(self):
        return self.call(["cp", "-a", "--reflink=never", f"{self.source}/.", self.store], written=self.store)

    def restore(self, to):
        return self.call(["cp", "-a", "--reflink=never", f"{self.store}/.", to], written=to)


TOOLS = [Holdfast, Restic, Kopia, Borg, Tar, Copy]


