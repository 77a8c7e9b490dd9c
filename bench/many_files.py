# SPDX-License-Identifier: Apache-2.0
"""Memory where there are many files: the agent's and the server's rooms in one process, which has the memory of both."""
import json
import random

from measure import PROGRAMS, WORK, Failed, call, clear, tree_hash

SEED = 4


def make_tree(top, count):
    """Small tables: a page or three, most of it text-like, a thousand files a directory, as with directoryPerDB."""
    rng = random.Random(SEED)
    words = [rng.randbytes(5).hex() for _ in range(500)]
    for number in range(count):
        directory = top / f"db{number // 1000:04d}"
        if number % 1000 == 0:
            directory.mkdir(parents=True)
        text = f"{number:012d} " + " ".join(rng.choices(words, k=300))
        size = rng.choice((4096, 4096, 8192, 12288))
        (directory / f"collection-{number}.wt").write_bytes((text * (size // len(text) + 1)).encode()[:size])


def measure(scratch_dir, count):
    """What each work needed. The restored tree is compared."""
    top = scratch_dir / "many"
    clear(top)
    source, store, restored = top / "source", top / "store", top / "restored"
    peaks, seconds = {}, {}
    log = WORK / "many.log"

    def run(name, *words):
        output = call([PROGRAMS / "store_bench", *words], log=log)[1]
        result = json.loads(output)
        peaks[name], seconds[name] = result["peak_bytes"], result["seconds"]
        return result

    try:
        make_tree(source, count)
        full = run("full capture", "capture", source, store)
        if full["files"] != count:
            raise Failed(f"{full['files']} files were captured of {count}")
        run("nothing changed, all read", "capture", source, store, "--parent", "--read-all")
        run("verify", "verify", store)
        run("restore", "restore", store, full["id"], restored)
        if tree_hash(restored) != tree_hash(source):
            raise Failed("the restored tree of many files differs from its source")
        return {"files": count, "bytes": full["bytes"], "peaks": peaks, "seconds": seconds}
    finally:
        clear(top)
