#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An application that writes to a member as fast as it answers, or at a given rate, and says how far it is.

  writer.py PORT [--rate DOCUMENTS_A_SECOND] [--batch DOCUMENTS] [--body BYTES] [--seconds SECONDS]

Two connections insert small documents, w 1, until standard input ends or the time is over. Prints a line "SECONDS DOCUMENTS" twenty
times a second: the monotonic clock, and what was acknowledged since the start. Documents are made of bytes, not by the driver:
what is measured is the member.
"""
import argparse
import random
import struct
import sys
import threading
import time

import bson
import pymongo
from bson.raw_bson import RawBSONDocument

THREADS = 2
EVERY_S = 0.05
KEY_AT = 4 + 5  # length; type and name of _id


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("port", type=int)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--body", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=0.0)
    options = parser.parse_args()
    client = pymongo.MongoClient("127.0.0.1", options.port, directConnection=True, retryWrites=False)
    database = client.get_database("bench_load", write_concern=pymongo.WriteConcern(w=1))
    database.drop_collection("written")
    database.create_collection("written")
    done, stop, failed = [0] * THREADS, threading.Event(), []
    began = time.monotonic()

    def write(number):
        rng = random.Random(number)
        documents = [bytearray(bson.encode({"_id": bson.Int64(1), "body": rng.randbytes(options.body // 2).hex()})) for _ in range(1000)]
        key = number << 48
        try:
            while not stop.is_set():
                ahead = done[number] - options.rate / THREADS * (time.monotonic() - began) if options.rate else 0
                if ahead > 0:
                    time.sleep(min(ahead / options.rate * THREADS, EVERY_S))
                    continue
                batch = []
                for i in range(options.batch):
                    document = documents[(key + i) % len(documents)]
                    struct.pack_into("<q", document, KEY_AT, key + i)
                    batch.append(RawBSONDocument(bytes(document)))
                reply = database.command("insert", "written", documents=batch, ordered=False)
                if reply["n"] != len(batch):
                    raise pymongo.errors.OperationFailure(str(reply))
                key += options.batch
                done[number] += options.batch
        except (pymongo.errors.PyMongoError, bson.errors.BSONError) as error:
            failed.append(error)

    def say():
        while not stop.wait(EVERY_S):
            print(f"{time.monotonic():.6f} {sum(done)}", flush=True)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(THREADS)] + [threading.Thread(target=say)]
    for thread in threads:
        thread.start()
    if options.seconds:
        stop.wait(options.seconds)
    else:
        sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    if failed:
        raise SystemExit(f"writer: {failed[0]}")


if __name__ == "__main__":
    main()
