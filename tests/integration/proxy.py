# SPDX-License-Identifier: Apache-2.0
"""A bad network for the tests: a TCP proxy of their own between two processes, which does to the bytes what a test says.

A proxy, and not network namespaces: it needs no rights, so the same tests run in any container, and it can act at a chosen
request and not only at a chosen time. It lies above TCP, so what it calls "reordered" is what two ends of TCP can see of
that: requests and answers of several connections overtaking each other. Bytes within a connection keep their order.

What it can do, to both directions or one: cut, refuse, delay, slow down, give on in other pieces, swallow for ever (half
open: it accepts, reads, never answers, never closes), and lose the answer to a request that the server has carried out, so
that the client must send it again.
"""
import contextlib
import random
import re
import socket
import threading
import time

from harness import free_port, wait_for

REQUEST = re.compile(rb"(GET|HEAD|PUT|POST|PATCH|DELETE) (\S+) HTTP/1\.1\r\n")
POLL = r"POST /agent/v1/poll"
FINISH = r"POST /agent/v1/tasks/\w+/finish"
PUT = r"PUT /agent/v1/objects/j/\w+/[pt]/"  # of a capture: a tail puts slices beside it
GET = r"GET /agent/v1/objects/"


class Direction:
    """What happens to bytes on their way to one side. delay_s: before each piece; jitter_s: up to so much more; rate: bytes
    a second of each connection; pieces: the least and the most bytes given on at once."""

    def __init__(self):
        self.clear()

    def clear(self):
        self.delay_s = self.jitter_s = 0.0
        self.rate = self.pieces = None
        self.is_cut = False

    def split(self, data, dice):
        if self.pieces is None:
            return [data]
        parts, at = [], 0
        while at < len(data):
            step = dice.randint(*self.pieces)
            parts.append(data[at:at + step])
            at += step
        return parts


class Connection:
    def __init__(self, client, server):
        self.client, self.server = client, server  # server: None when half open from the start
        self.dead = False  # swallowed for ever
        self.request = None  # "PUT /...", the one under way
        self.lost = False  # its answer is not to come through

    def close(self):
        for end in (self.client, self.server):
            if end is not None:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()


class Proxy:
    """Listens on a port of its own (or that address) and goes on to target_port; mend() makes a good line of it again."""

    def __init__(self, target_port, address="127.0.0.1", port=None, seed=1):
        self.target_port, self.address, self.port = target_port, address, port or free_port()
        self.host = f"{address}:{self.port}"
        self.url = f"http://{self.host}"
        self.up, self.down = Direction(), Direction()
        self.dice, self.changed = random.Random(seed), threading.Condition()  # changed guards: all below
        self.connections, self.rules = set(), []
        self.swallows = self.is_closed = False
        self.listener = None
        self.open_ever = 0  # connections
        self.sent = {}  # request -> how often it was sent
        self.broken = {}  # request -> how often it had no answer
        self._listen()

    # ---- Listening ----

    def _listen(self):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.address, self.port))
        listener.listen(256)
        self.listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with self.changed:
                self.open_ever += 1
                swallows = self.swallows
            server = None
            if not swallows:
                try:
                    server = socket.create_connection(("127.0.0.1", self.target_port), 5)
                    server.settimeout(None)  # a long poll is silent for long
                except OSError:
                    client.close()
                    continue
            connection = Connection(client, server)
            connection.dead = swallows
            with self.changed:
                self.connections.add(connection)
                self.changed.notify_all()
            for end in (client, server):
                if end is not None:
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._pump, args=(connection, client, server, True), daemon=True).start()
            if server is not None:
                threading.Thread(target=self._pump, args=(connection, server, client, False), daemon=True).start()

    # ---- Bytes on their way ----

    def _pump(self, connection, source, sink, up):
        try:
            while True:
                piece = source.recv(65536)
                if not piece:
                    break
                self._pass(connection, sink, up, piece)
        except OSError:
            pass
        with self.changed:
            if connection.dead:
                return  # nobody learns that the other side has gone
            self.connections.discard(connection)
            if connection.request is not None:
                self.broken[connection.request] = self.broken.get(connection.request, 0) + 1
                connection.request = None
            self.changed.notify_all()
        connection.close()

    def _pass(self, connection, sink, up, piece):
        direction = self.up if up else self.down
        if up and not connection.dead:
            self._see_request(connection, piece)
        elif not up:
            with self.changed:
                if connection.lost:
                    raise OSError("the answer is lost")
                if not connection.dead and not direction.is_cut and self.begins_answer(piece):
                    connection.request = None
        for part in direction.split(piece, self.dice):
            pause = direction.delay_s + (self.dice.uniform(0, direction.jitter_s) if direction.jitter_s else 0)
            if direction.rate:
                pause += len(part) / direction.rate
            if pause:
                time.sleep(pause)
            if not connection.dead and not direction.is_cut:
                sink.sendall(part)

    def request_in(self, piece):
        """The name of the request that begins here, or None."""
        found = REQUEST.match(piece)
        return found and f"{found.group(1).decode()} {found.group(2).decode()}"

    def begins_answer(self, piece):
        return piece.startswith(b"HTTP/1.1 ")

    def _see_request(self, connection, piece):
        name = self.request_in(piece)
        if not name:
            return
        with self.changed:
            connection.request = name
            self.sent[name] = self.sent.get(name, 0) + 1
            due = []
            for rule in self.rules:
                if rule["left"] > 0 and re.match(rule["pattern"], name):
                    rule["seen"] += 1
                    if rule["seen"] >= rule["nth"]:
                        rule["left"] -= 1
                        due.append(rule)
            self.changed.notify_all()
        for rule in due:
            rule["action"](connection)
            with self.changed:
                rule["done"] += 1
                self.changed.notify_all()

    # ---- What a test does ----

    def at(self, pattern, action, nth=1, times=1):
        """Runs action(connection) when the nth request that matches from now comes, before it goes on, and at the times - 1
        that follow. The rule; wait(rule) waits until it has acted."""
        rule = {"pattern": pattern, "action": action, "nth": nth, "left": times, "seen": 0, "done": 0, "times": times}
        with self.changed:
            self.rules.append(rule)
        return rule

    def wait(self, rule, limit=60):
        wait_for(lambda: rule["done"] >= rule["times"], f"{rule['times']} requests {rule['pattern']}", limit)

    def lose_answer(self, pattern, nth=1, times=1):
        """The server gets such a request whole and acts; its answer does not come, the connection breaks."""

        def lose(connection):
            connection.lost = True

        return self.at(pattern, lose, nth, times)

    def drop(self):
        """Every connection breaks, both ways at once; new ones may come."""
        with self.changed:
            connections = [one for one in self.connections if not one.dead]
        for connection in connections:
            connection.close()

    def cut(self, up=True, down=True):
        """Bytes of these directions are lost from now on, and nobody is told; with both, nobody can connect either."""
        self.up.is_cut, self.down.is_cut = up, down
        if up and down:
            self.refuse()

    def refuse(self):
        """Breaks every connection and listens no more."""
        listener, self.listener = self.listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.drop()

    def half_open(self):
        """All that is connected now, or connects until mend(), is accepted, read, never answered and never closed."""
        with self.changed:
            self.swallows = True
            for connection in self.connections:
                connection.dead = True

    def mend(self):
        """New connections are good. Dead ones stay dead: only their own ends can find that out."""
        with self.changed:
            self.rules, self.swallows = [], False
        self.up.clear()
        self.down.clear()
        if self.listener is None and not self.is_closed:
            self._listen()

    def forget(self):
        """The counts start anew."""
        with self.changed:
            self.sent, self.broken, self.open_ever = {}, {}, 0

    def count(self, pattern):
        with self.changed:
            return sum(count for name, count in self.sent.items() if re.match(pattern, name))

    def sent_without_need(self, pattern=PUT):
        """Requests that were sent again although their answer had come."""
        with self.changed:
            return {name: count for name, count in self.sent.items()
                    if re.match(pattern, name) and count > 1 + self.broken.get(name, 0) + sum(
                        one.dead and one.request == name for one in self.connections)}

    def dead_connections(self):
        with self.changed:
            return sum(one.dead for one in self.connections)

    def close(self):
        self.is_closed = True
        self.refuse()
        with self.changed:
            connections, self.connections = self.connections, set()
        for connection in connections:
            connection.close()


class MongoProxy(Proxy):
    """Before a member, by another address of this host with the member's own port, as the set's configuration needs it.
    Requests have the names of their commands, "aggregate $backupCursor" for that one."""

    def __init__(self, member):
        super().__init__(member.port, "127.0.0.2", member.port)

    def request_in(self, piece):
        if len(piece) < 30 or piece[12:16] != b"\xdd\x07\0\0":  # OP_MSG
            return None
        found = re.match(rb"[\x01-\x7f](\w+)\0", piece[25:100])
        if not found:
            return None
        return found.group(1).decode() + (" $backupCursor" if b"$backupCursor\0" in piece else "")

    def begins_answer(self, piece):
        return True


class OnALine:
    """Beside harness.TestCase, for a case whose agent talks to the server through a Proxy: cls.line."""

    @classmethod
    def put_between(cls):
        """The agent's next start goes through cls.line."""
        cls.line = Proxy(cls.server.port)
        cls.agent.command[cls.agent.command.index(cls.server.url)] = cls.line.url

    @classmethod
    def tearDownClass(cls):
        cls.line.close()
        super().tearDownClass()

    def hold(self):
        """A capture that waits with its first object, and what lets it go on."""
        event = threading.Event()
        self.addCleanup(event.set)
        rule = self.line.at(PUT, lambda connection: event.wait(120))
        snapshot_id = self.d.begin_take()
        wait_for(lambda: rule["seen"], "the first object")
        self.log = self.agent.log.stat().st_size
        return snapshot_id, event.set

    def wait_logged(self, pattern):
        """What the agent has logged since hold()."""
        return wait_for(lambda: re.search(pattern, self.agent.log.read_text()[self.log:]), f"the agent to log {pattern}")
