#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An application that writes to a member as fast as it answers, or at a given rate, and says how far it is.

  writer.py PORT [--rate DOCUMENTS_A_SECOND]

Two connections insert small documents, w 1, until standard input ends. Prints a line "SECONDS DOCUMENTS" twenty times a
second: the monotonic clock, and what was acknowledged since the start.
"""
import argparse
import random
import sys
import threading
import time

import bson
import pymongo

BATCH = 100
THREADS = 2
EVERY_S = 0.05


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("port", type=int)
    parser.add_argument("--rate", type=float, default=0.0)
    options = parser.parse_args()
    client = pymongo.MongoClient("127.0.0.1", options.port, directConnection=True, retryWrites=False)
    collection = client.bench_load.get_collection("written", write_concern=pymongo.WriteConcern(w=1))
    collection.drop()
    done, stop, failed = [0] * THREADS, threading.Event(), []
    began = time.monotonic()

    def write(number):
        rng = random.Random(number)
        bodies = [rng.randbytes(150).hex() for _ in range(1000)]
        key = number << 48
        try:
            while not stop.is_set():
                ahead = done[number] - options.rate / THREADS * (time.monotonic() - began) if options.rate else 0
                if ahead > 0:
                    time.sleep(min(ahead / options.rate * THREADS, EVERY_S))
                    continue
                collection.insert_many([{"_id": key + i, "body": rng.choice(bodies)} for i in range(BATCH)], ordered=False)
                key += BATCH
                done[number] += BATCH
        except (pymongo.errors.PyMongoError, bson.errors.BSONError) as error:
            failed.append(error)

    def say():
        while not stop.wait(EVERY_S):
            print(f"{time.monotonic():.6f} {sum(done)}", flush=True)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(THREADS)] + [threading.Thread(target=say)]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    if failed:
        raise SystemExit(f"writer: {failed[0]}")


if __name__ == "__main__":
    main()
