# SPDX-License-Identifier: Apache-2.0
"""What every namespace must contain at any time: a naive replay of the oplog, in memory, and the comparison with a server.

It is the judge of restores, so it shares nothing with the product: the entries are read with the driver, and what they do is
written here once more, entry by entry, for the forms that MongoDB 4.4 writes (mongodb-observed.md 5). What it does not know, or what
does not fit (an update of a document that is not there), is an error and never passed over.
"""
import bisect
import collections

import bson
from bson import Timestamp
from bson.binary import STANDARD
from bson.codec_options import CodecOptions
from bson.son import SON

TYPED = CodecOptions(document_class=SON, uuid_representation=STANDARD)
SYSTEM = ("admin", "config", "local")
SHOWN = 6  # differences that a message lists


def key_of(value):
    """A document's _id as a key; two numbers that are equal and of another type would be one, and nobody writes such."""
    return bson.encode({"": value}, codec_options=TYPED)


def encoded(document):
    return bson.encode(document, codec_options=TYPED)


def decoded(data):
    return bson.decode(data, codec_options=TYPED)


def is_system(namespace):
    return namespace.split(".", 1)[0] in SYSTEM


class Collection:
    """Documents by _id, each as its bytes, in the order in which they came; options, indexes by name."""

    def __init__(self, uuid, options, indexes):
        self.uuid, self.options, self.indexes = uuid, options, indexes
        self.building = {}  # by the build's UUID: specs of an index build under way
        self.documents = {}
        self.fallen = {}  # of a capped one: all that was ever inserted, in order

    @property
    def capped(self):
        return bool(self.options.get("capped"))

    def copy(self):
        other = Collection(self.uuid, dict(self.options), dict(self.indexes))
        other.building, other.documents, other.fallen = dict(self.building), dict(self.documents), dict(self.fallen)
        return other


class Replay:
    """The state after the entries so far. apply() takes them in the oplog's order; changed hears of each document that it changes."""

    def __init__(self, changed=lambda namespace, key, document: None):
        self.changed = changed
        self.collections = {}  # by namespace
        self.parts = {}  # of a large transaction: (lsid, txnNumber) to the operations so far
        self.prepared = {}  # likewise, of prepared ones
        self.at = None

    def state(self):
        return {name: one.copy() for name, one in self.collections.items() if not is_system(name)}

    def apply(self, entry):
        self.at = entry["ts"]
        kind = entry["op"]
        if kind == "n":
            return
        if kind == "c":
            self._command(entry)
        else:
            self._change(entry)

    # ---- Documents ----

    def _of(self, entry):
        found = self.collections.get(entry["ns"])
        if found is None and is_system(entry["ns"]):
            found = self.collections[entry["ns"]] = Collection(entry.get("ui"), {}, {})  # some of those are made without an entry
        assert found is not None, f"{entry['ts'] if 'ts' in entry else self.at}: no collection {entry['ns']}"
        assert is_system(entry["ns"]) or "ui" not in entry or found.uuid == entry["ui"], \
            f"{self.at}: {entry['ns']} is {found.uuid}, the entry is for {entry['ui']}"
        return found

    def _change(self, entry):
        collection, kind, o = self._of(entry), entry["op"], entry["o"]
        if kind == "i":
            key = key_of(o["_id"])
            assert key not in collection.documents or is_system(entry["ns"]), f"{self.at}: {entry['ns']} has {o['_id']!r} already"
            collection.documents[key] = encoded(o)
            if collection.capped:
                collection.fallen[key] = None
        elif kind == "u":
            key = key_of(entry["o2"]["_id"])
            if key not in collection.documents and is_system(entry["ns"]):
                return
            assert key in collection.documents, f"{self.at}: {entry['ns']} has no {entry['o2']['_id']!r} to update"
            collection.documents[key] = encoded(updated(decoded(collection.documents[key]), o))
        elif kind == "d":
            key = key_of(o["_id"])
            gone = collection.documents.pop(key, None)
            assert gone is not None or is_system(entry["ns"]), f"{self.at}: {entry['ns']} has no {o['_id']!r} to delete"
        else:
            raise AssertionError(f"{self.at}: an entry of kind {kind}")
        self.changed(entry["ns"], key, collection.documents.get(key))

    # ---- Commands ----

    def _command(self, entry):
        o = entry["o"]
        name = next(iter(o))
        getattr(self, f"_{name}", self._unknown)(entry, o, entry["ns"].split(".", 1)[0])

    def _unknown(self, entry, o, database):
        raise AssertionError(f"{entry['ts']}: nothing is known of the command {next(iter(o))}")

    def _create(self, entry, o, database):
        options = SON((key, value) for key, value in o.items() if key not in ("create", "idIndex"))
        indexes = {"_id_": SON(o["idIndex"])} if "idIndex" in o else {}
        self.collections[f"{database}.{o['create']}"] = Collection(entry.get("ui"), options, indexes)

    def _drop(self, entry, o, database):
        del self.collections[f"{database}.{o['drop']}"]

    def _dropDatabase(self, entry, o, database):
        left = [name for name in self.collections if name.startswith(f"{database}.")]
        assert not left or is_system(left[0]), f"{entry['ts']}: {database} is dropped and still has {left}"

    def _renameCollection(self, entry, o, database):
        if "dropTarget" in o and o["dropTarget"]:
            assert o["to"] in self.collections, f"{entry['ts']}: no target {o['to']}"
        else:
            assert o["to"] not in self.collections, f"{entry['ts']}: {o['to']} is there already"
        self.collections[o["to"]] = self.collections.pop(o["renameCollection"])

    def _collMod(self, entry, o, database):
        collection = self.collections[f"{database}.{o['collMod']}"]
        for key, value in o.items():
            if key == "index":
                name = value.get("name") or next(n for n, spec in collection.indexes.items() if spec["key"] == value["keyPattern"])
                spec = SON(collection.indexes[name])
                for field in ("hidden", "expireAfterSeconds"):
                    if field in value:
                        spec[field] = value[field]
                if spec.get("hidden") is False:
                    del spec["hidden"]
                collection.indexes[name] = spec
            elif key in ("validator", "validationLevel", "validationAction"):
                collection.options[key] = value
                if key == "validator":  # the server writes down what it assumes
                    collection.options.setdefault("validationLevel", "strict")
                    collection.options.setdefault("validationAction", "error")
            elif key != "collMod":
                raise AssertionError(f"{entry['ts']}: nothing is known of collMod {key}")

    def _createIndexes(self, entry, o, database):
        spec = SON((key, value) for key, value in o.items() if key != "createIndexes")
        self.collections[f"{database}.{o['createIndexes']}"].indexes[spec["name"]] = spec

    def _startIndexBuild(self, entry, o, database):
        self.collections[f"{database}.{o['startIndexBuild']}"].building[o["indexBuildUUID"]] = list(o["indexes"])

    def _commitIndexBuild(self, entry, o, database):
        collection = self.collections[f"{database}.{o['commitIndexBuild']}"]
        del collection.building[o["indexBuildUUID"]]
        for spec in o["indexes"]:
            collection.indexes[spec["name"]] = SON(spec)

    def _abortIndexBuild(self, entry, o, database):
        del self.collections[f"{database}.{o['abortIndexBuild']}"].building[o["indexBuildUUID"]]

    def _dropIndexes(self, entry, o, database):
        del self.collections[f"{database}.{o['dropIndexes']}"].indexes[o["index"]]

    def _emptycapped(self, entry, o, database):
        collection = self.collections[f"{database}.{o['emptycapped']}"]
        collection.documents, collection.fallen = {}, {}

    # ---- Transactions ----

    @staticmethod
    def _transaction(entry):
        return (encoded(entry["lsid"]), entry["txnNumber"]) if "lsid" in entry and "txnNumber" in entry else None

    def _applyOps(self, entry, o, database):
        key = self._transaction(entry)
        operations = self.parts.pop(key, []) + list(o["applyOps"])
        if o.get("partialTxn"):
            self.parts[key] = operations
            return
        assert "count" not in o or o["count"] == len(operations), f"{entry['ts']}: {len(operations)} of {o['count']} operations"
        if o.get("prepare"):
            self.prepared[key] = operations
        else:
            self._do(operations)

    def _do(self, operations):
        for operation in operations:
            if operation["op"] == "c":
                self._command(SON([*operation.items(), ("ts", self.at)]))
            else:
                self._change(operation)

    def _commitTransaction(self, entry, o, database):
        self._do(self.prepared.pop(self._transaction(entry)))

    def _abortTransaction(self, entry, o, database):
        self.prepared.pop(self._transaction(entry))


def updated(document, o):
    """The document after the update that an entry tells: the whole new one, or fields to set and to take away."""
    if not next(iter(o), "").startswith("$"):
        return SON([("_id", document["_id"]), *((key, value) for key, value in o.items() if key != "_id")]) if "_id" not in o else o
    assert set(o) <= {"$v", "$set", "$unset"} and o.get("$v", 1) == 1, o
    for path in o.get("$unset", {}):
        holder, last = _walk(document, path.split("."))
        if isinstance(holder, list):
            holder[int(last)] = None
        elif holder is not None:
            holder.pop(last, None)
    for path, value in o.get("$set", {}).items():
        holder, last = _walk(document, path.split("."), make=True)
        if isinstance(holder, list):
            while len(holder) <= int(last):
                holder.append(None)
            holder[int(last)] = value
        else:
            holder[last] = value
    return document


def _walk(document, path, make=False):
    at = document
    for name in path[:-1]:
        if isinstance(at, list):
            at = at[int(name)]
        elif name in at:
            at = at[name]
        elif make:
            at[name] = SON()
            at = at[name]
        else:
            return None, None
    return at, path[-1]


def read_entries(client, known=()):
    """The oplog of a member, behind those known entries that it does not have any more: one that was built as a copy of another
    begins later."""
    entries = list(client.local.get_collection("oplog.rs", codec_options=TYPED).find().sort("$natural", 1))
    before = [entry for entry in known if entry["ts"] < entries[0]["ts"]]
    if len(before) < len(known):
        same = known[len(before)]
        assert encoded(same) == encoded(entries[0]), f"the oplog begins with {entries[0]}, where {same} was before"
    return before + entries


class History:
    """All entries of one oplog, and what follows from them."""

    def __init__(self, entries):
        self.entries = entries
        self.times = [entry["ts"] for entry in self.entries]
        assert self.times == sorted(set(self.times)), "the oplog is not in order"
        assert "initiating set" in str(self.entries[0]["o"]), "these entries do not begin where the set does"

    def position(self, ts):
        """How many entries are at or before that time."""
        return bisect.bisect_right(self.times, ts)

    def unfinished_builds(self, ts):
        """The times of the entries that begin, or abort, index builds that are not committed at that time."""
        begun, committed = {}, set()
        for entry in self.entries[:self.position(ts)]:
            if entry["op"] == "c" and "indexBuildUUID" in entry["o"]:
                begun.setdefault(entry["o"]["indexBuildUUID"], []).append(entry["ts"])
                if "commitIndexBuild" in entry["o"]:
                    committed.add(entry["o"]["indexBuildUUID"])
        return {when for build, times in begun.items() if build not in committed for when in times}

    def states(self, times):
        """{time: state}, each with the entries up to and with that time."""
        replay, position, found = Replay(), 0, {}
        for ts in sorted(set(times)):
            until = self.position(ts)
            for entry in self.entries[position:until]:
                replay.apply(entry)
            position, found[ts] = max(position, until), replay.state()
        return found

    def state(self, ts):
        return self.states([ts])[ts]


# ---- A server ----


def read_state(client):
    """The same form as Replay.state(), read from a server."""
    state = {}
    for database in client.list_database_names():
        if database in SYSTEM:
            continue
        db = client.get_database(database, codec_options=TYPED)
        for info in db.command("listCollections", cursor={"batchSize": 10000})["cursor"]["firstBatch"]:
            name = info["name"]
            indexes = db.command("listIndexes", name, cursor={"batchSize": 1000})["cursor"]["firstBatch"]
            collection = Collection(info["info"]["uuid"], info["options"], {spec["name"]: spec for spec in indexes})
            for document in db[name].find().sort("$natural", 1):
                collection.documents[key_of(document["_id"])] = encoded(document)
            state[f"{database}.{name}"] = collection
    return state


def _plain(value):
    """Options and indexes are compared without the order of their fields, but for that of an index's key."""
    if isinstance(value, dict):
        return {key: (list(one.items()) if key == "key" else _plain(one)) for key, one in value.items() if key != "ns"}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _shown(keys):
    names = [repr(decoded(key)[""]) for key in list(keys)[:SHOWN]]
    return f"{', '.join(names)}{', ..' if len(keys) > SHOWN else ''} ({len(keys)})"


def _compare_capped(want, have):
    """Recovery does not take away again what fell out of a capped collection (mongodb-observed.md 6): it may hold more of the oldest.
    At a checkpoint it may lack some of them, too: what falls out does so at once, before the insert that pushed it has its time."""
    order = list(want.fallen)
    held = list(have.documents)
    if held != order[len(order) - len(held):]:
        return [f"its {len(held)} documents are not the last ones of the {len(order)} that were inserted"]
    least = min(len(order), want.options.get("max", 2)) // 2
    problems = [f"{len(held)} documents, and at least {least} must be there"] if len(held) < least else []
    other = [key for key in held if have.documents[key] != want.documents[key]]
    return problems + ([f"other content: {_shown(other)}"] if other else [])


def _compare_collection(want, have):
    problems = []
    if want.uuid != have.uuid:
        problems.append(f"UUID {have.uuid} instead of {want.uuid}")
    if _plain(want.options) != _plain(have.options):
        problems.append(f"options {dict(have.options)} instead of {dict(want.options)}")
    unfinished = {spec["name"] for specs in want.building.values() for spec in specs}
    for name in sorted(set(want.indexes) | set(have.indexes)):
        if name not in have.indexes:
            problems.append(f"no index {name}")
        elif name not in want.indexes:
            if name not in unfinished:  # a build that was under way then may have been ended, or not
                problems.append(f"an index {name} that should not be there")
        elif _plain(want.indexes[name]) != _plain(have.indexes[name]):
            problems.append(f"index {name} is {dict(have.indexes[name])} instead of {dict(want.indexes[name])}")
    if want.capped:
        return problems + _compare_capped(want, have)
    missing = [key for key in want.documents if key not in have.documents]
    surplus = [key for key in have.documents if key not in want.documents]
    other = [key for key, data in want.documents.items() if key in have.documents and have.documents[key] != data]
    for keys, what in ((missing, "missing"), (surplus, "too many"), (other, "other content")):
        if keys:
            problems.append(f"{what}: {_shown(keys)}")
    if other:
        problems.append(f"{decoded(have.documents[other[0]])} instead of {decoded(want.documents[other[0]])}")
    return problems


def compare(want, have):
    """'' when a server's state is what the replay says, else what differs."""
    problems = []
    for namespace in sorted(set(want) | set(have)):
        if namespace not in have:
            problems.append(f"{namespace} is missing ({len(want[namespace].documents)} documents)")
        elif namespace not in want:
            problems.append(f"{namespace} should not be there ({len(have[namespace].documents)} documents)")
        else:
            problems += [f"{namespace}: {problem}" for problem in _compare_collection(want[namespace], have[namespace])]
    return "; ".join(problems)


# ---- Targets ----


class Target:
    """A point in time as an operator names it, and up to which entry that is."""

    def __init__(self, why, timestamp=None, seconds=None):
        self.why, self.timestamp, self.seconds = why, timestamp, seconds
        # A date is "up to but not including that second", a timestamp is inclusive.
        self.until = timestamp if timestamp is not None else Timestamp(seconds - 1, 0xFFFFFFFF)

    def __str__(self):
        name = f"{self.timestamp.time}.{self.timestamp.inc}" if self.timestamp is not None else f"before second {self.seconds}"
        return f"{name} ({self.why})"


def _kind(entry):
    """What is special about an entry, or None."""
    o = entry["o"]
    if entry["op"] == "n":
        return "an election" if o.get("msg") == "new primary" else "a no-op"
    if entry["op"] == "c":
        name = next(iter(o))
        if name == "applyOps":
            return "inside a large transaction" if o.get("partialTxn") else "inside a prepared transaction" if o.get("prepare") else "a transaction"
        return "the end of a prepared transaction" if name.endswith("Transaction") else f"the definition {name}"
    return None


def pick(random, history, first, last, count, moments=()):
    """So many targets from first to last: one of each kind of place in turn. moments: {why: times} that are special for another
    reason, each picked as itself, as its neighbours, and as the date of its second."""
    low, high = history.position(first) - 1, history.position(last)
    places = {}

    def add(why, position):
        if low <= position < high:
            places.setdefault(why, []).append(Target(why, timestamp=history.times[position]))

    for position in range(max(low, 0), high):
        kind = _kind(history.entries[position])
        if kind:
            add(kind, position)
            add(f"just before {kind}", position - 1)
        add("any entry", position)
    for why, times in dict(moments).items():
        for ts in times:
            position = history.position(ts) - 1
            for step, word in ((0, ""), (-1, "the entry before "), (1, "the entry after ")):
                add(word + why, position + step)
            for seconds, word in ((ts.time, "the date of "), (ts.time + 1, "the second after ")):
                if first.time < seconds <= last.time:
                    places.setdefault(word + why, []).append(Target(word + why, seconds=seconds))
            if first <= ts <= last and history.times[position] != ts:  # taken back at the source, or never an entry
                places.setdefault(f"the lost time of {why}", []).append(Target(f"the lost time of {why}", timestamp=ts))
    for second in range(first.time + 1, last.time + 1):
        places.setdefault("any second", []).append(Target("any second", seconds=second))
    for position in range(max(low, 0), high - 1):
        ts, following = history.times[position], history.times[position + 1]
        if following.time > ts.time:  # a time that no entry has
            places.setdefault("between two entries", []).append(Target("between two entries", timestamp=Timestamp(ts.time, ts.inc + 1)))
    for targets in places.values():
        random.shuffle(targets)
    order, picked = sorted(places), []
    random.shuffle(order)
    while len(picked) < count and any(places.values()):
        for why in order:
            if places[why] and len(picked) < count:
                picked.append(places[why].pop())
    return picked


GROUPS = {"slice edges": "slice's", "inside large transactions": "inside a large", "inside prepared transactions": "inside a prepared",
          "ends of prepared transactions": "end of a prepared", "whole transactions": "a transaction", "definitions": "the definition",
          "elections": "an election", "rollbacks": "a rollback", "checkpoints": "checkpoint", "a copy's end": "base's end"}


def told(targets):
    """How many of each group, and of both forms."""
    counts = {"dates": sum(target.timestamp is None for target in targets)}
    counts["timestamps"] = len(targets) - counts["dates"]
    groups = collections.Counter(next((name for name, word in GROUPS.items() if word in target.why), "other") for target in targets)
    return {**counts, **{name: groups[name] for name in (*GROUPS, "other")}}
