# SPDX-License-Identifier: Apache-2.0
"""Several clients that write everything a set's oplog can hold, and keep journals of what was acknowledged to them.

Documents with and without retries, transactions small, large and prepared, definitions, capped collections, bursts and pauses, no-ops,
checkpoints, elections. What the namespaces hold at a time is computed from the oplog (history.py); the journals, and looks at the server
while all clients stand still, prove that computation.
"""
import contextlib
import random
import threading
import time

import bson
import pymongo
import pymongo.errors
from bson.son import SON
from pymongo.write_concern import WriteConcern

from harness import wait_for
from history import History, Replay, TYPED, compare, encoded, key_of, read_entries, read_state
from test_sandbox_transactions import ARGUMENTS, Words

MAJORITY = WriteConcern(w="majority", wtimeout=30000)
ERRORS = (pymongo.errors.PyMongoError, OSError, AssertionError)
QUIET_LIMIT_S = 90

__all__ = ["ARGUMENTS", "Chronicle"]


class _Writer:
    """One client in a thread of its own. A subclass has step(); what it does to documents of its own it notes with done()."""

    def __init__(self, chronicle, number, retry):
        self.chronicle, self.number = chronicle, number
        self.random = random.Random(chronicle.seed * 100 + number)
        self.client = chronicle.set.scratch.client([member.host for member in chronicle.set.members], replicaSet=chronicle.set.name,
                                                   retryWrites=retry, serverSelectionTimeoutMS=20000)
        self.journal, self.steps, self.problem = [], 0, None
        self.session = self.client.start_session()
        self.thread = threading.Thread(target=self._loop, daemon=True)
        self.stands = 0  # the last call to stand still that it has heard

    def collection(self, name, database="app"):
        return self.client.get_database(database, codec_options=TYPED, write_concern=MAJORITY)[name]

    def done(self, namespace, key, document):
        """The server has acknowledged it at the session's time: that document, or None, is there now."""
        self.journal.append((self.session.operation_time, namespace, key_of(key), None if document is None else encoded(document)))

    def _loop(self):
        c = self.chronicle
        while not c.over.is_set():
            if c.quiet_wanted:
                self.stands = c.quiet_wanted
                time.sleep(0.005)
                continue
            try:
                self.step()
            except ERRORS as error:
                self.problem = error  # an election, mostly; what became of it tells the oplog
                time.sleep(0.05)
            self.steps += 1
            time.sleep(c.pause * self.random.random() * 2)


class _Documents(_Writer):
    """Single documents and several; it has its own ids in shared collections, and says after each answer what they are."""

    def __init__(self, *args):
        super().__init__(*args)
        self.mine = {}  # (collection, id): the document, as told by what was acknowledged
        self.next = self.number * 1_000_000

    def step(self):
        name = self.random.choice(("orders", "people", "log"))
        mine = [key for key in self.mine if key[0] == name]
        kind = self.random.random()
        if kind < 0.45 or len(mine) < 5:
            self._insert(name)
        elif kind < 0.9:
            self._update(name, self.random.choice(mine))
        else:
            self._delete(name, self.random.choice(mine))

    def _new(self):
        self.next += 1
        r = self.random
        return SON([("_id", self.next), ("by", self.number), ("n", r.randrange(100)), ("text", "%x" % r.getrandbits(400)),
                    ("list", [r.randrange(9), SON([("deep", r.randrange(9))])]), ("sub", SON([("a", 1), ("b", r.random())]))])

    def _insert(self, name):
        documents = [self._new() for _ in range(self.random.choice((1, 1, 1, 4)))]
        if len(documents) == 1:
            self.collection(name).insert_one(documents[0], session=self.session)
        else:
            self.collection(name).insert_many(documents, session=self.session)
        for document in documents:
            self.mine[name, document["_id"]] = document
            self.done(f"app.{name}", document["_id"], document)

    def _update(self, name, key):
        document = self.mine.pop(key)  # forgotten if the answer does not come
        collection, _id, r = self.collection(name), key[1], self.random
        kind, number = r.randrange(6), r.randrange(1000)
        if kind == 0:
            collection.update_one({"_id": _id}, {"$set": {"n": number, "sub.b": number, "sub.c": "new"}}, session=self.session)
            document["n"] = number
            document.setdefault("sub", SON()).update(b=number, c="new")
        elif kind == 1:
            collection.update_one({"_id": _id}, {"$inc": {"n": 7}, "$unset": {"text": 1}}, session=self.session)
            document["n"] += 7
            document.pop("text", None)
        elif kind == 2:
            collection.update_one({"_id": _id}, {"$push": {"list": number}}, session=self.session)
            document["list"].append(number)
        elif kind == 3:
            document = SON([("_id", _id), *self._new().items()])
            document["_id"] = _id
            collection.replace_one({"_id": _id}, document, session=self.session)
        elif kind == 4:
            collection.find_one_and_update({"_id": _id}, {"$set": {"list.0": number, "found": number}}, session=self.session)
            document["list"][0] = number
            document["found"] = number
        else:
            self.next += 1
            _id = self.next  # one that is made by being updated
            collection.update_one({"_id": _id}, {"$set": {"list": [1], "n": number, "up": "sert"}}, upsert=True, session=self.session)
            self.mine[key], document = document, SON([("_id", _id), ("list", [1]), ("n", number), ("up", "sert")])
        self.mine[name, _id] = document
        self.done(f"app.{name}", _id, document)

    def _delete(self, name, key):
        del self.mine[key]
        if self.random.random() < 0.3:
            self.collection(name).find_one_and_delete({"_id": key[1]}, session=self.session)
        else:
            self.collection(name).delete_one({"_id": key[1]}, session=self.session)
        self.done(f"app.{name}", key[1], None)


class _Transactions(_Writer):
    """Small ones, large ones over several entries, aborted ones, and prepared ones as a shard's coordinator has them."""

    def step(self):
        kind, mark = self.random.random(), f"{self.number}-{self.steps}"
        if kind < 0.35:
            self._driver(mark, 2)
        elif kind < 0.65:
            self._driver(mark, self.random.randrange(6, 30))
        elif kind < 0.75:
            with contextlib.suppress(ZeroDivisionError), self.session.start_transaction():
                self.collection("a").insert_one({"_id": f"never-{mark}"}, session=self.session)
                raise ZeroDivisionError
        else:
            self._prepared(mark, self.random.randrange(1, 12), commits=kind < 0.92)

    def _driver(self, mark, count):
        documents = [SON([("_id", f"{mark}-{i}"), ("n", i), ("text", "t" * self.random.randrange(300))]) for i in range(count)]
        gone = documents.pop() if count > 5 else None
        with self.session.start_transaction(write_concern=MAJORITY):
            if gone:
                self.collection("a").insert_one(gone, session=self.session)
            for document in documents[::2]:
                self.collection("a").insert_one(document, session=self.session)
            self.collection("b").insert_many(documents[1::2], session=self.session)
            self.collection("b").update_many({"_id": {"$in": [one["_id"] for one in documents[1::2]]}}, {"$set": {"twice": mark}},
                                             session=self.session)
            if gone:
                self.collection("a").delete_one({"_id": gone["_id"]}, session=self.session)
        for i, document in enumerate(documents):
            if i % 2:
                document["twice"] = mark
            self.done(f"app.{'b' if i % 2 else 'a'}", document["_id"], document)
        if gone:
            self.done("app.a", gone["_id"], None)

    def _prepared(self, mark, count, commits):
        words = Words(self.chronicle.set.wait_primary().port)
        try:
            words.begin([("insert", "p"), ("documents", [SON([("_id", f"{mark}-{i}")]) for i in range(count)])])
            ts = words.prepare()
            time.sleep(self.random.random() * self.chronicle.prepared_s)
        except ERRORS:
            self._end(words, None)
            raise
        self._end(words, ts if commits else None)

    def _end(self, words, ts):
        """Whatever happens meanwhile, it does not stay prepared: it would hold its documents for ever."""

        def ended():
            primary = self.chronicle.set.primary()
            if primary is None:
                return False
            again = Words(primary.port, words.lsid)
            again.number = words.number
            answer = again.commit(commitTimestamp=ts) if ts else again.abort()
            again.raw.close()
            return answer["ok"] == 1 or answer.get("code") in (251, 256)  # nobody knows it any more

        words.raw.close()
        wait_for(ended, "the end of a prepared transaction")


class _Definitions(_Writer):
    """Collections, indexes and databases that come, change and go, with documents in them."""

    def __init__(self, *args):
        super().__init__(*args)
        self.living, self.refused = [], set()

    def step(self):
        mark = f"{self.number}_{self.steps}"
        if len(self.living) > 6:
            self.collection(self.living.pop(0), "shape").drop(session=self.session)
        getattr(self, f"_do_{self.random.choice(('create', 'create', 'index', 'index', 'rename', 'over', 'drop', 'mod', 'database', 'unindex'))}")(mark)
        if self.living:
            name = self.random.choice(self.living)
            self.collection(name, "shape").insert_many([SON([("_id", f"{mark}-{i}"), ("u", f"{mark}-{i}"), ("k", i)]) for i in range(3)],
                                                       session=self.session)

    def _shape(self):
        return self.client.get_database("shape", codec_options=TYPED, write_concern=MAJORITY)

    def _do_create(self, mark):
        kind = self.random.randrange(4)
        if kind == 0:
            self._shape().create_collection(f"c{mark}", capped=True, size=1 << 20, max=5, session=self.session)
        elif kind == 1:
            self._shape().create_collection(f"c{mark}", validator={"k": {"$gte": 0}}, validationLevel="strict", validationAction="error",
                                            session=self.session)
        elif kind == 2:
            self._shape().create_collection(f"c{mark}", session=self.session)
        else:
            self._shape()[f"c{mark}"].insert_one({"_id": "implicit", "u": "implicit"}, session=self.session)
        self.living.append(f"c{mark}")

    def _do_index(self, mark):
        if self.living:
            keys, options = self.random.choice(([[("k", 1)], {}], [[("u", 1)], {"unique": True}], [[("k", -1), ("u", 1)], {}],
                                                [[("k", 1)], {"sparse": True}], [[("when", 1)], {"expireAfterSeconds": 90000}]))
            self._shape()[self.random.choice(self.living)].create_index(keys, name=f"i{mark}", session=self.session, **options)

    def _do_unindex(self, mark):
        if self.living:
            collection = self._shape()[self.random.choice(self.living)]
            names = [name for name in collection.index_information() if name != "_id_"]
            if names:
                collection.drop_index(self.random.choice(names), session=self.session)

    def _do_rename(self, mark):
        if self.living:
            old = self.living.pop(self.random.randrange(len(self.living)))
            self._shape()[old].rename(f"r{mark}", session=self.session)
            self.living.append(f"r{mark}")

    def _do_over(self, mark):
        """One that takes the place of another."""
        if len(self.living) > 1:
            old = self.living.pop(self.random.randrange(len(self.living)))
            self._shape()[old].rename(self.random.choice(self.living), dropTarget=True, session=self.session)

    def _do_drop(self, mark):
        if self.living:
            self._shape()[self.living.pop(self.random.randrange(len(self.living)))].drop(session=self.session)

    def _do_mod(self, mark):
        if self.living and "collMod" not in self.refused:
            name = self.random.choice(self.living)
            try:
                self._shape().command("collMod", name, validator={"k": {"$gte": -self.steps}}, session=self.session)
            except pymongo.errors.OperationFailure as error:
                if error.code == 59:  # this server has no such command
                    self.refused.add("collMod")
                elif error.code not in (72, 26):  # not on a capped one; gone
                    raise

    def _do_database(self, mark):
        """A database that comes, and goes with all it has."""
        name = f"passing_{self.random.randrange(3)}"
        if name in self.client.list_database_names():
            self.client.drop_database(name, session=self.session)
        else:
            for one in ("x", "y"):
                self.collection(one, name).insert_many([{"_id": f"{mark}-{i}"} for i in range(3)], session=self.session)
            self.client[name].y.create_index([("z", 1)], name="z", session=self.session)


class _Ring(_Writer):
    """A capped collection that overflows all the time."""

    def step(self):
        self.collection("ring").insert_one(SON([("_id", self.steps), ("text", "r" * self.random.randrange(200))]), session=self.session)
        self.collection("counts").update_one({"_id": "ring"}, {"$inc": {"n": 1}}, upsert=True, session=self.session)


class _Weather(_Writer):
    """What happens to a set besides writes: bursts, pauses, notes, checkpoints."""

    def step(self):
        kind, c = self.random.random(), self.chronicle
        if kind < 0.3:
            c.pause = 0
        elif kind < 0.6:
            c.pause = c.usual_pause
        elif kind < 0.7:
            c.pause = c.usual_pause * 8
        elif kind < 0.85:
            self.client.admin.command("appendOplogNote", 1, data={"note": self.steps})
        else:
            for member in c.set.members:
                member.client.admin.command("fsync", 1)
        time.sleep(0.1 + self.random.random() * 0.2)


class Chronicle:
    """The clients on a set that was started with ARGUMENTS. settle() at the end gives the History."""

    def __init__(self, replica_set, seed, usual_pause=0.01, prepared_s=0.05):
        self.set, self.seed, self.usual_pause, self.pause, self.prepared_s = replica_set, seed, usual_pause, usual_pause, prepared_s
        self.over, self.looks, self.elections, self.rollbacks = threading.Event(), [], [], []
        self.calls = self.quiet_wanted = 0  # how many times they were to stand still; which of them is now, 0 none
        client = replica_set.primary().client
        self.entries = read_entries(client)  # grows where another member's oplog may begin later
        client.app.create_collection("ring", capped=True, size=65536, max=20)
        for name in ("orders", "people", "log", "a", "b", "p", "counts"):  # what a transaction writes to has to be there
            client.app.create_collection(name)
        self.writers = [_Documents(self, 1, True), _Documents(self, 2, False), _Transactions(self, 3, True), _Transactions(self, 4, True),
                        _Definitions(self, 5, False), _Ring(self, 6, False), _Weather(self, 7, False)]
        replica_set.scratch.writers.append(self)

    def start(self):
        for writer in self.writers:
            writer.thread.start()
        return self

    def stop(self):
        self.over.set()
        for writer in self.writers:
            if writer.thread.ident is not None:
                writer.thread.join()
        return self

    def top(self):
        return self.set.wait_primary().client.admin.command("replSetGetStatus")["optimes"]["appliedOpTime"]["ts"]

    def wait_steps(self, more, limit=120):
        """Every client has done so many steps more (the one that makes the weather, one)."""
        goals = [(writer, writer.steps + (1 if isinstance(writer, _Weather) else more)) for writer in self.writers]

        def there():
            ended = [f"client {writer.number}" for writer, _ in goals if not writer.thread.is_alive()]
            assert not ended, f"{ended}: ended by themselves"
            return all(writer.steps >= goal for writer, goal in goals)

        wait_for(there, f"{more} steps more of each client ({[(w.number, w.steps, str(w.problem)[:200]) for w in self.writers]})", limit)

    @contextlib.contextmanager
    def quiet(self):
        """All clients stand between two of their steps."""
        self.calls += 1
        self.quiet_wanted = self.calls
        try:
            for writer in self.writers:
                wait_for(lambda w=writer: w.stands == self.calls or not w.thread.is_alive(), f"client {writer.number} to stand still",
                         QUIET_LIMIT_S)
            yield
        finally:
            self.quiet_wanted = 0

    def look(self):
        """What the set holds now and when that is, to hold the history against. Server threads of its own may add no-ops meanwhile."""
        with self.quiet():
            client = self.set.wait_primary().client
            self.looks.append((self.top(), read_state(client)))

    def elect(self):
        """Another primary, by the old one's own will; the clients go on."""
        old = self.set.wait_primary()
        self.entries = read_entries(old.client, self.entries)
        with contextlib.suppress(pymongo.errors.AutoReconnect):
            old.client.admin.command(SON([("replSetStepDown", 20), ("secondaryCatchUpPeriodSecs", 10)]))
        new = self.set.wait_primary(other_than=old)
        self.elections.append(self.top())
        return new

    def roll_back(self):
        """A primary that is alone writes what nobody else gets, and another one is chosen meanwhile: the old one has to take it back."""
        with self.quiet():
            old = self.set.wait_primary()
            self.entries = read_entries(old.client, self.entries)
            others = [member for member in self.set.members if member is not old]
            wait_for(lambda: all(member.hello()["lastWrite"]["opTime"]["ts"] >= self.top() for member in others), "all members to have everything")
            key = f"lost-{len(self.rollbacks)}"
            try:
                for member in others:  # a stopped one would still find the entry in its socket
                    member.kill()
                lost = old.client.app.command("insert", "orders", documents=[{"_id": key}], writeConcern={"w": 1})["opTime"]["ts"]
            finally:
                old.kill()
                for member in others:
                    member.start()
            new = wait_for(lambda: next((member for member in others if member.is_primary()), None), "a primary without the old one")
            after = new.client.get_database("app", write_concern=MAJORITY).command("insert", "orders", documents=[{"_id": f"not-{key}"}])
            old.start()

            def back():
                hello = old.hello()
                return hello.get("secondary") and hello["lastWrite"]["opTime"]["ts"] >= after["opTime"]["ts"]

            wait_for(back, "the old primary to have taken back what it alone had")
            assert old.client.app.orders.find_one({"_id": key}) is None, f"{key} is still there"
            self.rollbacks.append(lost)

    def history(self):
        """As far as it goes now."""
        return History(read_entries(self.set.wait_primary().client, self.entries))

    def settle(self):
        """Ends the writing; the oplog, proved against the journals and the looks."""
        self.stop()
        self.looks.append((self.top(), read_state(self.set.wait_primary().client)))
        history = self.history()
        self.check(history)
        return history

    def check(self, history):
        """Every acknowledged change and every look is what the replayed oplog says."""
        acknowledged = sorted((item for writer in self.writers for item in writer.journal), key=lambda item: item[0])
        states = history.states([ts for ts, _ in self.looks])
        for ts, seen in self.looks:
            problem = compare(states[ts], seen)
            assert not problem, f"the replay of the oplog up to {ts} and the server: {problem}"
        versions = _versions(history)
        for ts, namespace, key, document in acknowledged:
            at = None
            for when, what in versions.get((namespace, key), ()):
                if when <= ts:
                    at = what
            assert at == document, (f"{namespace} {bson.decode(key)['']!r} was acknowledged at {ts} to be {document and bson.decode(document)}, "
                                    f"the oplog says {at and bson.decode(at)}")
        assert acknowledged and self.looks, "nothing was written"


def _versions(history):
    """{(namespace, key): [(time, document or None)]}"""
    versions = {}
    replay = Replay(lambda namespace, key, document: versions.setdefault((namespace, key), []).append((replay.at, document)))
    for entry in history.entries:
        replay.apply(entry)
    return versions
