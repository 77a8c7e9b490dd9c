#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The server's HTTP API as a stranger's client sees it, and its agents' protocol as a careless or hostile agent speaks it.

Clients: Python's own (urllib with its digest handler, http.client), and curl. The agent here is one that no one started: it
says hello, takes tasks, and does with its rights what it can.
"""
import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import harness
from handmade import Pack
from handmade import checksum as xxh3
from harness import wait_for

PUBLIC = "/api/public/v1.0"
PRIVATE = "/api/private/v1.0"
NO_ID = "0" * 22 + "42"
VERSION = r"gitHash=[0-9a-f]{40}; versionString=\d+\.\d+\.\d+"
JSON = {"Content-Type": "application/json"}


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)


class Client:
    """Digest through urllib, as a script of anybody's would do it."""

    def __init__(self, server, public=None, private=None):
        self.url = server.url
        self.public, self.private = (public, private) if public else server.keys()

    def opener(self, digest):
        """A fresh one each time: the handler counts answers that are errors as failed logins, and gives up after five."""
        if not digest:
            return urllib.request.build_opener()
        passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        passwords.add_password(None, self.url, self.public, self.private)
        return urllib.request.build_opener(urllib.request.HTTPDigestAuthHandler(passwords))

    def call(self, method, path, body=None, headers=None, digest=True):
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {**(JSON if data is not None else {}), **(headers or {})}, method=method)
        try:
            with self.opener(digest).open(request, timeout=60) as answer:
                return Reply(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, error.headers, error.read())

    def get(self, path, **kwargs):
        return self.call("GET", path, **kwargs)

    def curl(self, *words, path=PUBLIC):
        """curl --digest: the status and the body."""
        done = subprocess.run(["curl", "-sS", "--max-time", "60", "--digest", "-u", f"{self.public}:{self.private}", "-w", "\n%{http_code}",
                               *words, self.url + path], capture_output=True, text=True, timeout=90)
        assert done.returncode == 0, done.stderr
        body, _, status = done.stdout.rpartition("\n")
        return int(status), body


class FakeAgent:
    """Speaks docs/format/agent-protocol.md with a member for each of its sets."""

    def __init__(self, server, agent_id, sets=("alpha",), key=None):
        self.server, self.id, self.sets = server, agent_id, sets
        self.key = key or (server.data / "agent.key").read_text().strip()
        self.session = None

    def call(self, method, path, body=None, headers=None, key=None, version="1"):
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        head = {"Authorization": f"Bearer {key or self.key}", **JSON}
        if version:
            head["Holdfast-Protocol"] = version
        request = urllib.request.Request(self.server.url + path, data, {**head, **(headers or {})}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return Reply(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, error.headers, error.read())

    def members(self):
        return [{"address": f"{name}.example:27017", "set": name, "dbPath": "/data", "state": "PRIMARY", "primary": f"{name}.example:27017",
                 "hidden": False, "priority": 1.0, "readable": True, "setMembers": 1, "fcv": "4.4", "version": "4.4.6", "engine": "wiredTiger",
                 "lagS": 0, "dataBytes": 1, "problem": ""} for name in self.sets]

    def hello(self, **changes):
        reply = self.call("POST", "/agent/v1/hello", {"protocol": 1, "agent": self.id, "host": "h", "release": "0", "restoreRoot": "",
                                                      "members": self.members(), **changes})
        if reply.status == 200:
            self.session = reply.json["session"]
        return reply

    def captures(self, **changes):
        """What it is given to capture: a started job has a tail too, sooner or later."""
        return [task for task in self.poll(**changes).json["tasks"] if task["kind"] == "capture"]

    def poll(self, **changes):
        return self.call("POST", "/agent/v1/poll", {"protocol": 1, "agent": self.id, "session": self.session, "waitMs": 0, "members": self.members(),
                                                    "running": [], "ended": [], **changes})

    @staticmethod
    def running(task, attempt=None):
        """What a poll says of a task at work."""
        return {"task": task["task"], "attempt": attempt or task["attempt"], "progress": {
            "phase": "testing", "current": "", "bytesTotal": 2, "bytesDone": 1, "filesTotal": 2, "filesDone": 1, "bytesNew": 1, "bytesStored": 1,
            "elapsedMs": 1, "rateBytesS": 1}}

    def finish(self, task, **changes):
        return self.call("POST", f"/agent/v1/tasks/{task['task']}/finish", {
            "protocol": 1, "agent": self.id, "session": self.session, "task": task["task"], "attempt": task["attempt"], "kind": task["kind"],
            "error": "CANCELLED", "message": "the test is over", **changes})

    def object(self, method, name, task, body=None, headers=None):
        """A call on one object within a task; name may carry a query."""
        head = {"Holdfast-Task": task["task"], "Holdfast-Attempt": task["attempt"]}
        if body is not None:
            head.update({"Holdfast-Checksum": xxh3(body), "Content-Type": "application/octet-stream"})
        return self.call(method, "/agent/v1/objects" + name, body, {**head, **(headers or {})})


class Case(harness.TestCase):
    def check_error(self, reply, status, code, detail=None):
        self.assertEqual(reply.status, status, reply.body)
        self.assertEqual(reply.headers["Content-Type"], "application/json")
        self.assertRegex(reply.headers["X-MongoDB-Service-Version"], f"^{VERSION}$")
        body = reply.json
        self.assertEqual(set(body), {"error", "reason", "errorCode", "errorClass", "detail", "parameters"})
        self.assertEqual((body["error"], body["errorCode"], body["parameters"]), (status, code, []))
        self.assertEqual(body["reason"].lower().replace("content too large", "request entity too large"),
                         http.client.responses[status].lower())
        if detail:
            self.assertRegex(body["detail"], detail)

    def check_agent_error(self, reply, status, name, message=None):
        self.assertEqual((reply.status, reply.json["error"]), (status, name), reply.body)
        self.assertEqual(set(reply.json), {"error", "message"})
        if message:
            self.assertRegex(reply.json["message"], message)


class Strangers(Case):
    """One server, many sets, no database."""

    SETS = tuple(f"set-{i}" for i in range(7))

    @classmethod
    def deploy(cls):
        cls.server = harness.Server(cls.scratch).start()
        cls.client = Client(cls.server)
        cls.agent = FakeAgent(cls.server, "a" * 24, cls.SETS)
        assert cls.agent.hello().status == 200
        cls.project = cls.client.get(PUBLIC + "/groups").json["results"][0]["id"]
        cls.group = f"{PUBLIC}/groups/{cls.project}"
        cls.clusters = cls.client.get(cls.group + "/clusters").json["results"]
        cls.cluster = next(one["id"] for one in cls.clusters if one["clusterName"] == "set-0")
        assert cls.client.call("PATCH", f"{cls.group}/backupConfigs/{cls.cluster}", {"statusName": "STARTED"}).status == 200

    def take(self):
        """A snapshot of set-0 that runs, and its task."""
        reply = self.client.call("POST", PRIVATE + "/snapshots", {"set": "set-0"})
        self.assertEqual(reply.status, 201, reply.body)
        tasks = self.agent.captures()
        self.assertEqual(len(tasks), 1)
        self.addCleanup(self.end, tasks[0])
        return reply.json, tasks[0]

    def end(self, task):
        """Gives the task up, unless it has ended."""
        if self.agent.finish(task).status == 404:
            return
        self.assertEqual(self.agent.finish(task).status, 200)
        outcome = wait_for(lambda: self.agent.poll().json["outcomes"], "the outcome", every=0.1)
        self.assertEqual([one["task"] for one in outcome], [task["task"]])
        self.agent.poll(ended=[task["task"]])

    @contextlib.contextmanager
    def connection(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        try:
            yield connection
        finally:
            connection.close()

    def on(self, connection, method, path, body=None, headers=None):
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return Reply(answer.status, answer.headers, answer.read())

    # ---- Who asks ----

    def test_the_challenge_is_what_the_known_clients_parse(self):
        for method, path in (("GET", PUBLIC), ("POST", PRIVATE + "/snapshots"), ("DELETE", PRIVATE + "/snapshots/1"), ("GET", "/no/such/thing")):
            with self.connection() as connection:
                reply = self.on(connection, method, path)
            self.check_error(reply, 401, "NO_CURRENT_USER", "HTTP digest")
            challenges = reply.headers.get_all("WWW-Authenticate")
            self.assertEqual(len(challenges), 1)
            self.assertRegex(challenges[0], r'^Digest realm="MMS Public API", domain="", nonce="[0-9a-f]+", algorithm=MD5, qop="auth", stale=false$')

    def digest(self, method, path, nonce, **changes):
        """An Authorization header made by hand, as rest-api 1.3 says."""
        import hashlib
        hash_name = changes.pop("hash", "md5")

        def h(text):
            return hashlib.new(hash_name, text.encode()).hexdigest()

        f = {"username": self.client.public, "realm": "MMS Public API", "nonce": nonce, "uri": path, "nc": "00000001", "cnonce": "00112233445566ff",
             "qop": "auth", "private": self.client.private, **changes}
        ha1, ha2 = h(f"{f['username']}:{f['realm']}:{f['private']}"), h(f"{method}:{f['uri']}")
        middle = f":{f['nc']}:{f['cnonce']}:{f['qop']}" if f["qop"] else ""
        response = f.get("response") or h(f"{ha1}:{f['nonce']}{middle}:{ha2}")
        text = f'Digest username="{f["username"]}", realm="{f["realm"]}", nonce="{f["nonce"]}", uri="{f["uri"]}", response="{response}"'
        if f["qop"]:
            text += f', qop={f["qop"]}, nc={f["nc"]}, cnonce="{f["cnonce"]}"'
        return {"Authorization": text + f.get("more", "")}

    def nonce(self, connection):
        return re.search('nonce="([0-9a-f]+)"', self.on(connection, "GET", PUBLIC).headers["WWW-Authenticate"]).group(1)

    def test_each_known_client_s_way_of_answering_is_taken(self):
        path = PUBLIC + "/groups?itemsPerPage=100&pageNum=1"
        ways = {"go": {"more": ', algorithm="MD5"'}, "operator, its nc not padded": {"nc": "1", "more": ", algorithm=MD5"}, "no qop": {"qop": ""},
                "sha-256": {"hash": "sha256", "more": ", algorithm=SHA-256"}}
        with self.connection() as connection:
            for name, way in ways.items():
                with self.subTest(client=name):
                    reply = self.on(connection, "GET", path, headers=self.digest("GET", path, self.nonce(connection), **way))
                    self.assertEqual(reply.status, 200, reply.body)
            nonce = self.nonce(connection)
            for nc in ("00000001", "00000002", "00000003"):  # curl and requests keep a nonce
                self.assertEqual(self.on(connection, "GET", path, headers=self.digest("GET", path, nonce, nc=nc)).status, 200)
            reply = self.on(connection, "GET", path, headers=self.digest("GET", path, nonce, nc="00000002"))
            self.check_error(reply, 401, "NO_CURRENT_USER")
            self.assertIn("stale=true", reply.headers["WWW-Authenticate"], "a nonce and count that was used is no second key")

    def test_wrong_answers_are_challenged_again(self):
        path = PUBLIC + "/groups"
        wrong = {"password": {"private": "x"}, "user": {"username": "nobodysx"}, "another method's": {"response": "0" * 32}, "realm": {"realm": "Mine"},
                 "nonce": {"nonce": "0" * 64}, "another path": {"uri": PUBLIC}}
        with self.connection() as connection:
            for name, change in wrong.items():
                with self.subTest(wrong=name):
                    reply = self.on(connection, "GET", path, headers=self.digest("GET", path, **{"nonce": self.nonce(connection), **change}))
                    self.check_error(reply, 401, "NO_CURRENT_USER")
                    self.assertTrue(reply.headers["WWW-Authenticate"].startswith("Digest "))
            for header in ("Digest", "Digest x", "Basic YTpi", "Bearer " + self.agent.key, "Digest " + "a=1, " * 2000, "\xff"):
                reply = self.on(connection, "GET", path, headers={"Authorization": header})
                self.check_error(reply, 401, "NO_CURRENT_USER")

    def test_what_needs_no_key(self):
        reply = self.client.get("/monitor/health", digest=False)
        self.assertEqual((reply.status, reply.json), (200, {"ok": True}))
        reply = self.client.get("/api/private/unauth/version", digest=False, headers={"Accept": "text/plain"})
        self.assertEqual((reply.status, reply.headers["Content-Type"]), (200, "text/plain"))
        self.assertRegex(reply.body.decode(), f"^{VERSION}$")
        self.assertRegex(reply.headers["X-MongoDB-Service-Version"], f"^{VERSION}$")

    def test_a_key_sees_only_its_own_group(self):
        self.check_error(self.client.get(f"{PUBLIC}/groups/{NO_ID}"), 401, "NOT_IN_GROUP")
        self.check_error(self.client.get(f"{PUBLIC}/groups/{NO_ID}/clusters"), 401, "NOT_IN_GROUP")
        self.check_error(self.client.get(f"{PUBLIC}/groups/17"), 404, "INVALID_GROUP_ID", "'17' is not an id")

    def test_curl_with_every_method(self):
        if not shutil.which("curl"):
            self.skipTest("curl is not installed")
        status, body = self.client.curl()
        self.assertEqual((status, json.loads(body)["appName"]), (200, "Holdfast"))
        body = json.dumps({"set": "set-0"})
        status, text = self.client.curl("-X", "POST", "-H", "Content-Type: application/json", "-d", body, path=PRIVATE + "/snapshots")
        self.assertEqual(status, 201, text)
        snapshot = json.loads(text)
        task = self.agent.captures()[0]
        status, text = self.client.curl("-X", "DELETE", path=f"{PRIVATE}/snapshots/{snapshot['id']}")
        self.assertEqual((status, json.loads(text)["errorClass"]), (409, "CONFLICT"), "it is being taken")
        status, text = self.client.curl("-X", "POST", path=f"{PRIVATE}/snapshots/{snapshot['id']}/cancel")
        self.assertEqual(status, 202, text)
        self.assertEqual(self.agent.poll(running=[self.agent.running(task)]).json["cancel"], [task["task"]])
        self.end(task)
        status, text = self.client.curl(path=f"{PRIVATE}/snapshots/{snapshot['id']}")
        self.assertEqual((status, json.loads(text)["state"]), (200, "ABANDONED"))
        status, text = self.client.curl("-I", path=PUBLIC + "/groups")
        self.assertEqual(status, 200)
        # Without the header curl says that it sends a form.
        status, text = self.client.curl("-d", body, path=PRIVATE + "/snapshots")
        self.assertEqual((status, json.loads(text)["errorCode"]), (415, "UNSUPPORTED_MEDIA_TYPE"))
        huge = self.scratch.dir / "huge.json"
        huge.write_bytes(b'{"set": "' + b"x" * (3 << 20) + b'"}')
        status, text = self.client.curl("-H", "Content-Type: application/json", "--data-binary", f"@{huge}", path=PRIVATE + "/snapshots")
        self.assertEqual((status, json.loads(text)["errorCode"]), (413, "REQUEST_TOO_LARGE"))

    # ---- What is refused, and how ----

    def test_paths_and_methods(self):
        self.check_error(self.client.get(PUBLIC + "/nothing"), 404, "RESOURCE_NOT_FOUND", "there is no resource /api/public/v1.0/nothing")
        self.check_error(self.client.get("/"), 404, "RESOURCE_NOT_FOUND")
        self.check_error(self.client.get(f"{self.group}/clusters/{NO_ID}"), 404, "CLUSTER_NOT_FOUND")
        self.check_error(self.client.get(f"{self.group}/clusters/xyz"), 404, "INVALID_CLUSTER_ID")
        self.check_error(self.client.get(f"{self.group}/clusters/{self.cluster}/snapshots/{NO_ID}"), 404, "SNAPSHOT_NOT_FOUND")
        self.check_error(self.client.get(f"{self.group}/clusters/{self.cluster}/snapshots/1"), 404, "INVALID_SNAPSHOT_ID")
        self.check_error(self.client.get(f"{self.group}/clusters/{self.cluster}/restoreJobs/{NO_ID}"), 404, "RESTORE_JOB_NOT_FOUND")
        self.check_error(self.client.get(f"{PRIVATE}/restores/{'g' * 24}"), 404, "INVALID_JOB_ID")
        self.check_error(self.client.get(PUBLIC + "/groups/byName/nobody"), 404, "GROUP_NAME_NOT_FOUND")
        for method, path, allowed in (("PUT", PUBLIC + "/groups", "GET, HEAD, POST"), ("POST", PUBLIC, "GET, HEAD"),
                                      ("DELETE", PRIVATE + "/snapshots", "GET, HEAD, POST"),
                                      ("GET", f"{PRIVATE}/snapshots/{NO_ID}/verify", "POST"), ("BREW", PRIVATE + "/status", "GET, HEAD")):
            reply = self.client.call(method, path, {} if method in ("PUT", "POST") else None)
            self.check_error(reply, 405, "METHOD_NOT_ALLOWED", f"{method} is not done here, only {allowed}")
            self.assertEqual(reply.headers["Allow"], allowed)
        # One slash too many is no other path; an encoded one is no separator.
        self.assertEqual(self.client.get(PUBLIC + "/groups/").json["totalCount"], 1)
        self.check_error(self.client.get(PUBLIC + "%2Fgroups"), 404, "RESOURCE_NOT_FOUND")
        self.assertEqual(self.client.get(PUBLIC + "/groups/byName/d%65fault").json["id"], self.project)

    def test_bodies_of_the_wrong_shape(self):
        def refused(body, code, detail, path=PRIVATE + "/snapshots", method="POST", status=400):
            with self.subTest(body=body):
                self.check_error(self.client.call(method, path, body), status, code, detail)

        refused(b"{", "INVALID_JSON", "line 1")
        refused(b"[]", "INVALID_JSON", "no JSON object")
        refused(b"\xff\xfe", "INVALID_JSON", ".")
        refused(b'{"set": "a", "set": "b"}', "INVALID_JSON", "set")
        refused(b'{"set": ' + b"[" * 100 + b"]" * 100 + b"}", "INVALID_JSON", "64")
        refused({"set": "set-0", "colour": "blue"}, "INVALID_ATTRIBUTE", "'colour' is no attribute here")
        refused({}, "MISSING_ATTRIBUTE", "'set' is missing")
        refused({"set": None}, "MISSING_ATTRIBUTE", "'set' is missing")
        refused({"set": 5}, "INVALID_JSON_ATTRIBUTE", "'set' must be a text")
        refused({"set": "set-0", "retentionDays": "3"}, "INVALID_JSON_ATTRIBUTE", "'retentionDays' must be an integer")
        refused({"set": "set-0", "retentionDays": 1.5}, "INVALID_JSON_ATTRIBUTE", "'retentionDays' must be an integer")
        refused({"set": "set-0", "retentionDays": True}, "INVALID_JSON_ATTRIBUTE", "'retentionDays' must be an integer")
        refused({"set": "set-0", "retentionDays": -1}, "INVALID_ATTRIBUTE", "retentionDays must be 0 .* to 36500")
        refused({"set": "set-0", "description": ["a"]}, "INVALID_JSON_ATTRIBUTE", "'description' must be a text")
        refused({"set": "set-0", "description": "x" * 5000}, "INVALID_ATTRIBUTE", "description is longer than")
        refused({"set": "nowhere"}, "RESOURCE_NOT_FOUND", "set nowhere has no backup job", status=404)
        config = f"{self.group}/backupConfigs/{self.cluster}"
        refused({"statusName": "STARTED", "groupId": NO_ID}, "GROUP_MISMATCH", "groupId in the body differs", config, "PATCH")
        refused({"statusName": "STARTED", "storageEngineName": "MEMORY_MAPPED"}, "INVALID_ENUM_VALUE", "only WIRED_TIGER", config, "PATCH")
        refused({"statusName": 1}, "INVALID_JSON_ATTRIBUTE", "'statusName' must be a text", config, "PATCH")
        refused({"snapshotStore": {}}, "INVALID_ATTRIBUTE", "'snapshotStore'", config, "PATCH")
        refused({"provisioned": True}, "CANNOT_GET_BACKUP_CONFIG_INVALID_STATE", "waits for no approval", config, "PATCH", 409)
        refused({"groupId": self.group.rpartition("/")[2]}, "MISSING_ATTRIBUTE", "statusName", config, "PATCH")
        refused({"statusName": "PROVISIONING"}, "UNSUPPORTED_SET_BACKUP_STATE", "STARTED, STOPPED or TERMINATING", config, "PATCH", 403)
        refused({"statusName": "TERMINATING"}, "CANNOT_TERMINATE_BACKUP_INVALID_STATE", "stop it first", config, "PATCH", 409)
        refused({"username": "u"}, "CANNOT_SET_BACKUP_AUTH_FOR_MANAGED_CLUSTER", "credentials", config, "PATCH", 409)
        refused({"encryptionEnabled": False}, "UNSUPPORTED_FOR_CURRENT_CONFIG", "settled with their store", config, "PATCH", 409)
        refused({"preferredMember": "h:1"}, "INVALID_ATTRIBUTE", "no agent has reported a member h:1", config, "PATCH")
        refused({"statusName": "STARTED"}, "CANNOT_START_BACKUP_INVALID_STATE", "STARTED already", config, "PATCH", 409)
        refused({"level": "all"}, "SNAPSHOT_NOT_FOUND", NO_ID, f"{PRIVATE}/snapshots/{NO_ID}/verify", status=404)
        refused({"snapshotId": "1", "directory": "/x"}, "INVALID_ATTRIBUTE", "24 hexadecimal digits", PRIVATE + "/restores")
        refused({"snapshotId": NO_ID, "directory": "/x"}, "SNAPSHOT_NOT_FOUND", NO_ID, PRIVATE + "/restores", status=404)
        refused({"snapshotId": NO_ID}, "MISSING_ATTRIBUTE", "directory", PRIVATE + "/restores")
        self.assertEqual(self.client.get(PRIVATE + "/jobs").json["results"][0].get("runningSnapshotId"), None)

    def test_bodies_of_another_type_and_size(self):
        body = b'{"set": "set-0"}'
        for kind in ("text/plain", "application/x-www-form-urlencoded", "application/jsonx", "x" * 300):
            self.check_error(self.client.call("POST", PRIVATE + "/snapshots", body, {"Content-Type": kind}), 415, "UNSUPPORTED_MEDIA_TYPE")
        for kind in ("application/json; charset=UTF-8", "Application/JSON"):
            reply = self.client.call("POST", PRIVATE + "/snapshots", b'{"set": "nowhere"}', {"Content-Type": kind})
            self.check_error(reply, 404, "RESOURCE_NOT_FOUND")
        self.check_error(self.client.call("POST", PRIVATE + "/snapshots", b" " * ((1 << 20) + 1)), 413, "REQUEST_TOO_LARGE")

    def test_query_parameters(self):
        for query in ("pageNum=0", "pageNum=x", "pageNum=-1", "itemsPerPage=0", "itemsPerPage=501", "itemsPerPage=1.5", "pageNum=99999999999999999999"):
            self.check_error(self.client.get(f"{self.group}/clusters?{query}"), 400, "INVALID_QUERY_PARAMETER", query.split("=")[0])
        snapshots = f"{self.group}/clusters/{self.cluster}/snapshots"
        self.check_error(self.client.get(snapshots + "?completed=maybe"), 400, "INVALID_QUERY_PARAMETER", "true, false or all")
        self.check_error(self.client.call("POST", snapshots + "/onDemandSnapshot"), 400, "MISSING_QUERY_PARAMETER", "retentionDays")
        self.check_error(self.client.call("POST", snapshots + "/onDemandSnapshot?retentionDays=many"), 400, "INVALID_QUERY_PARAMETER")
        self.check_error(self.client.get(PUBLIC + "/groups?x=%zz"), 400, "INVALID_QUERY_PARAMETER")
        self.assertEqual(self.client.get(PUBLIC + "/groups?never=heard&of=it").status, 200)

    def test_a_refused_body_leaves_the_connection_usable(self):
        """The Go client sends its first, unauthenticated request with the whole body (rest-api 1.3)."""
        body = json.dumps({"set": "set-0", "description": "x" * 900_000}).encode()
        path = PRIVATE + "/snapshots"
        with self.connection() as connection:
            self.on(connection, "GET", "/monitor/health")
            socket = connection.sock
            reply = self.on(connection, "POST", path, body, JSON)
            self.check_error(reply, 401, "NO_CURRENT_USER")
            nonce = re.search('nonce="([0-9a-f]+)"', reply.headers["WWW-Authenticate"]).group(1)
            reply = self.on(connection, "POST", path, body, {**JSON, **self.digest("POST", path, nonce)})
            self.check_error(reply, 400, "INVALID_ATTRIBUTE", "description is longer")
            reply = self.on(connection, "POST", path, b"x" * (2 << 20), {**JSON, **self.digest("POST", path, self.nonce(connection))})
            self.check_error(reply, 413, "REQUEST_TOO_LARGE")
            reply = self.on(connection, "DELETE", PUBLIC, b"y" * 100_000, self.digest("DELETE", PUBLIC, self.nonce(connection)))
            self.check_error(reply, 405, "METHOD_NOT_ALLOWED")
            self.assertEqual(self.on(connection, "GET", "/monitor/health").status, 200)
            self.assertIs(connection.sock, socket, "all of it went over one connection")

    def test_requests_whose_end_is_not_clear_are_cut_off(self):
        for extra in ("Content-Length: 5\r\nContent-Length: 6", "Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: gzip"):
            with self.connection() as connection:
                connection.connect()
                connection.sock.sendall(f"POST {PRIVATE}/snapshots HTTP/1.1\r\nHost: x\r\n{extra}\r\n\r\n".encode())
                answer = connection.sock.recv(65536).decode()
                self.assertRegex(answer, r"^HTTP/1\.1 (400|501) ")
                self.assertIn("Connection: close", answer)
        with self.connection() as connection:
            reply = self.on(connection, "GET", "/monitor/health", headers={f"X-{i}": "y" * 900 for i in range(60)})
            self.check_error(reply, 431, "REQUEST_TOO_LARGE")
        self.assertEqual(self.client.get("/monitor/health").status, 200)

    # ---- The forms of answers ----

    def test_every_answer_names_the_version(self):
        for path in (PUBLIC, PUBLIC + "/groups", self.group, self.group + "/clusters", PRIVATE + "/status", "/monitor/health"):
            reply = self.client.get(path)
            self.assertEqual((reply.status, reply.headers["Content-Type"]), (200, "application/json"), path)
            self.assertRegex(reply.headers["X-MongoDB-Service-Version"], f"^{VERSION}$")

    def test_pages(self):
        base = f"{self.client.url}{self.group}/clusters"
        seen = []
        for number in (1, 2, 3):
            page = self.client.get(f"{self.group}/clusters?itemsPerPage=3&pageNum={number}&includeCount=true").json
            self.assertEqual(page["totalCount"], 7)
            seen += [one["clusterName"] for one in page["results"]]
            links = {link["rel"]: link["href"] for link in page["links"]}
            want = {"self": number}
            if number > 1:
                want["previous"] = number - 1
            if number < 3:
                want["next"] = number + 1
            self.assertEqual(links, {rel: f"{base}?includeCount=true&pageNum={n}&itemsPerPage=3" for rel, n in want.items()})
        self.assertEqual(sorted(seen), sorted(self.SETS))
        page = self.client.get(f"{self.group}/clusters?itemsPerPage=3&pageNum=4").json
        self.assertEqual((page["results"], page["totalCount"]), ([], 7))
        # A link can be followed as it is.
        first = self.client.get(f"{self.group}/clusters?itemsPerPage=4").json
        second = self.client.get(next(link["href"] for link in first["links"] if link["rel"] == "next")[len(self.client.url):]).json
        self.assertEqual(len(first["results"]) + len(second["results"]), 7)
        self.assertEqual(self.client.get(f"{self.group}/clusters/{self.cluster}/restoreJobs").json["results"], [])

    def test_envelope_and_pretty(self):
        plain = self.client.get(self.group).json
        reply = self.client.get(self.group + "?envelope=true")
        self.assertEqual(reply.json, {"status": 200, "content": plain})
        listed = self.client.get(self.group + "/clusters?envelope=true&itemsPerPage=2").json
        self.assertEqual((listed["status"], len(listed["results"]), listed["totalCount"]), (200, 2, 7))
        self.assertEqual(self.client.get(self.group).body.count(b"\n"), 0)
        pretty = self.client.get(self.group + "?pretty=true")
        self.assertEqual(pretty.json, plain)
        self.assertGreater(pretty.body.count(b"\n"), 3)
        self.assertGreater(self.client.get(PUBLIC + "/nothing?pretty=true").body.count(b"\n"), 3)

    def test_head_is_get_without_the_body(self):
        reply = self.client.call("HEAD", self.group)
        self.assertEqual((reply.status, reply.body), (200, b""))
        self.assertRegex(reply.headers["X-MongoDB-Service-Version"], VERSION)
        self.assertEqual(self.client.call("HEAD", PUBLIC + "/nothing").status, 404)

    # ---- The agents' protocol, misused ----

    def test_agents_without_the_right_key_or_version(self):
        for key in ("hfa_" + "0" * 64, "x", self.client.private):
            self.check_agent_error(self.agent.call("POST", "/agent/v1/hello", {}, key=key), 401, "UNAUTHENTICATED", "agent key is not known")
        for path in ("/agent/v1/hello", "/agent/v1/poll", "/agent/v1/objects?prefix=j"):
            for version in ("2", "0", "one", None):
                method = "GET" if "objects" in path else "POST"
                reply = self.agent.call(method, path, None if method == "GET" else {}, version=version)
                self.check_agent_error(reply, 501, "UNSUPPORTED", "this server speaks 1")
        self.check_agent_error(self.agent.hello(protocol=2), 501, "UNSUPPORTED", "protocol version 2, this program speaks version 1")
        self.check_agent_error(self.agent.call("POST", "/agent/v1/nothing", {}), 404, "NOT_FOUND")
        self.check_agent_error(self.agent.call("GET", "/agent/v1/hello"), 404, "NOT_FOUND")
        # An agent's key opens nothing of the API, and the other way round.
        self.check_error(self.client.get(PUBLIC, digest=False, headers={"Authorization": f"Bearer {self.agent.key}"}), 401, "NO_CURRENT_USER")
        reply = self.client.call("POST", "/agent/v1/hello", {}, {"Holdfast-Protocol": "1"})
        self.check_agent_error(reply, 401, "UNAUTHENTICATED")

    def test_messages_of_the_wrong_shape(self):
        stranger = FakeAgent(self.server, "b" * 24, ("stranger",))
        self.check_agent_error(stranger.call("POST", "/agent/v1/hello", b"{"), 400, "INVALID", "hello: ")
        self.check_agent_error(stranger.call("POST", "/agent/v1/hello", b"[]"), 400, "INVALID", "hello: not an object")
        self.check_agent_error(stranger.hello(agent="17"), 400, "INVALID", "hello: agent: ")
        self.check_agent_error(stranger.hello(members=[{"set": "x"}]), 400, "INVALID", "members: address: missing")
        self.check_agent_error(stranger.hello(members={"address": "x"}), 400, "INVALID", "members: not a list")
        self.check_agent_error(stranger.hello(host=5), 400, "INVALID", "host: not a text")
        self.check_agent_error(stranger.hello(host="h" * 5000), 400, "INVALID", "host: 5000 bytes")
        self.check_agent_error(stranger.call("POST", "/agent/v1/hello", b" " * ((8 << 20) + 1)), 413, "LIMIT")
        self.check_agent_error(stranger.hello(members=self.agent.members()), 409, "CONFLICT", f"served by agent {self.agent.id} already")

    def test_sessions_that_are_not(self):
        self.check_agent_error(self.agent.poll(session="0" * 64), 401, "UNAUTHENTICATED", "say hello again")
        self.check_agent_error(self.agent.poll(session=""), 401, "UNAUTHENTICATED")
        self.check_agent_error(FakeAgent(self.server, "c" * 24).poll(session=self.agent.session), 401, "UNAUTHENTICATED")
        old = self.agent.session
        self.assertEqual(self.agent.hello().status, 200)
        self.assertNotEqual(self.agent.session, old)
        self.check_agent_error(self.agent.poll(session=old), 401, "UNAUTHENTICATED", "say hello again")
        self.assertEqual(self.agent.poll().status, 200)
        # A task that the server does not know is cancelled.
        self.assertEqual(self.agent.poll(running=[self.agent.running({"task": NO_ID}, NO_ID)]).json["cancel"], [NO_ID])

    def test_a_task_is_given_until_it_is_named_and_fenced_by_its_attempt(self):
        snapshot, task = self.take()
        self.assertEqual((task["kind"], task["capture"]["set"], task["capture"]["snapshot"]), ("capture", "set-0", snapshot["id"]))
        self.assertNotIn("sealKey", task["keys"])
        self.assertEqual(self.agent.captures()[0]["task"], task["task"], "given again until it is named")
        self.assertEqual(self.agent.captures(running=[self.agent.running(task)]), [])
        progress = self.client.get(f"{PRIVATE}/snapshots/{snapshot['id']}").json["progress"]
        self.assertEqual((progress["phase"], progress["bytesDone"], progress["bytesTotal"]), ("testing", 1, 2))
        self.assertEqual(self.agent.poll(running=[self.agent.running(task, NO_ID)]).json["cancel"], [task["task"]])
        self.check_agent_error(self.agent.finish(task, attempt=NO_ID), 409, "LOST", "another attempt")
        self.check_agent_error(self.agent.finish(task, session="x"), 401, "UNAUTHENTICATED")
        self.check_agent_error(self.agent.finish({**task, "task": NO_ID}), 404, "NOT_FOUND")
        other = FakeAgent(self.server, "d" * 24, ())
        self.assertEqual(other.hello().status, 200)
        self.check_agent_error(other.finish(task), 409, "LOST")
        # A finish may come twice; the second says the same.
        self.assertEqual(self.agent.finish(task).json, {"protocol": 1})
        self.assertEqual(self.agent.finish(task).json, {"protocol": 1})
        wait_for(lambda: self.agent.poll().json["outcomes"], "the outcome", every=0.1)
        self.agent.poll(ended=[task["task"]])
        record = self.client.get(f"{PRIVATE}/snapshots/{snapshot['id']}").json
        self.assertEqual((record["state"], record["errorClass"], record["error"]), ("ABANDONED", "CANCELLED", "the test is over"))
        self.check_agent_error(self.agent.finish(task), 404, "NOT_FOUND")

    def test_a_finish_that_promises_what_is_not_there_makes_no_snapshot(self):
        snapshot, task = self.take()
        self.check_agent_error(self.agent.finish(task, error="OK", message=""), 400, "INVALID")
        self.check_agent_error(self.agent.finish(task, error="OK", message="", facts={}, root="!"), 400, "INVALID")
        self.end(task)
        self.assertEqual(self.client.get(f"{PRIVATE}/snapshots/{snapshot['id']}").json["state"], "ABANDONED")
        listed = self.client.get(f"{self.group}/clusters/{self.cluster}/snapshots?completed=all").json
        self.assertNotIn(snapshot["id"], [one["id"] for one in listed["results"]])

    def test_objects_within_the_task_s_right(self):
        _, task = self.take()
        job, writer, capture = task["keys"]["job"], task["capture"]["writer"], task["capture"]["capture"]
        names = [f"/j/{job}/p/{position:016x}-{0:016x}-{0:04x}-{writer}" for position in (capture << 24, (capture << 24) + 1)]
        name, pack, other = names[0], *(Pack(job, b"key", capture) for _ in range(2))
        pack.add(b"some bytes " * 1000)
        other.add(b"other")
        content = pack.object()
        try:
            self.assertEqual(self.agent.object("PUT", name, task, content).status, 201)
            self.assertEqual(self.agent.object("PUT", name, task, content).status, 201, "equal bytes are done already")
            self.check_agent_error(self.agent.object("PUT", name, task, other.object()), 409, "EXISTS", "other bytes")
            reply = self.agent.object("GET", name, task)
            self.assertEqual((reply.status, reply.body, reply.headers["Holdfast-Checksum"]), (200, content, xxh3(content)))
            self.assertEqual(reply.headers["Content-Type"], "application/octet-stream")
            reply = self.agent.object("GET", name, task, headers={"Range": "bytes=5-14"})
            self.assertEqual((reply.status, reply.body, reply.headers["Content-Range"]), (206, content[5:15], f"bytes 5-14/{len(content)}"))
            reply = self.agent.object("GET", name, task, headers={"Range": "bytes=-7"})
            self.assertEqual((reply.status, reply.body), (206, content[-7:]))
            self.assertEqual(reply.headers["Content-Range"], f"bytes {len(content) - 7}-{len(content) - 1}/{len(content)}")
            for bad in ("bytes=5-2", "bytes=-0", "lines=1-2", "bytes=a-b"):
                self.check_agent_error(self.agent.object("GET", name, task, headers={"Range": bad}), 400, "INVALID", "range ")
            self.assertGreaterEqual(self.agent.object("GET", name, task, headers={"Range": f"bytes=0-{len(content)}"}).status, 400)
            reply = self.agent.object("HEAD", name, task)
            self.assertEqual((reply.status, reply.headers["Holdfast-Size"], reply.body), (200, str(len(content)), b""))
            self.assertEqual(self.agent.object("HEAD", names[1], task).status, 404)
            self.check_agent_error(self.agent.object("GET", names[1], task), 404, "NOT_FOUND")
            listed = self.agent.object("GET", f"?prefix=j/{job}/p/&max=10", task).json
            self.assertEqual((listed["objects"], listed["more"]), ([{"name": name[1:], "size": len(content)}], False))
            for bad in ("?prefix=j/&max=0", "?max=5"):
                self.assertGreaterEqual(self.agent.object("GET", bad, task).status, 400)
        finally:
            self.end(task)
        # The right ends with the task, at most a second later.
        wait_for(lambda: self.agent.object("GET", name, task).status == 404, "the right's end", every=0.1)
        self.check_agent_error(self.agent.object("GET", name, task), 404, "NOT_FOUND")

    def test_objects_beyond_the_task_s_right(self):
        _, task = self.take()
        job, writer, capture = task["keys"]["job"], task["capture"]["writer"], task["capture"]["capture"]
        position = f"{capture << 24:016x}-{0:016x}-{0:04x}"
        content = b"mine"
        before = self.server.objects()
        try:
            for name in (f"/j/{NO_ID}/p/{position}-{writer}", f"/j/{job}/p/{position}-{NO_ID}", f"/j/{job}/c/{writer}", f"/j/{job}/m/{capture:010x}",
                         f"/j/{job}/k/00000001-00000001"):
                with self.subTest(put=name):
                    self.assertIn(self.agent.object("PUT", name, task, content).status, (400, 403))
            for name in (f"/j/{NO_ID}/p/{position}-{writer}", f"/j/{job}/c/{writer}", f"/j/{job}/k/00000001-00000001", "/holdfast/00000001", "/../x",
                         "/j/../../etc/passwd", "/%2e%2e/x"):
                with self.subTest(get=name):
                    self.assertIn(self.agent.object("GET", name, task).status, (400, 403))
            for prefix in ("", "j/", f"j/{job}/", f"j/{job}/k/", f"j/{NO_ID}/p/", "holdfast/"):
                with self.subTest(prefix=prefix):
                    self.check_agent_error(self.agent.object("GET", f"?prefix={prefix}", task), 403, "DENIED", "may not list")
            name = f"/j/{job}/p/{position}-{writer}"
            self.check_agent_error(self.agent.object("DELETE", name, task), 403, "DENIED", "the server's own")
            self.check_agent_error(self.agent.object("POST", name, task, content), 403, "DENIED", "the server's own")
            wrong = self.agent.object("PUT", name, task, content, {"Holdfast-Checksum": "0" * 16})
            self.check_agent_error(wrong, 400, "INVALID", "does not have the checksum")
            for checksum in ("", "zz", "0" * 17):
                reply = self.agent.object("PUT", name, task, content, {"Holdfast-Checksum": checksum})
                self.check_agent_error(reply, 400, "INVALID", "16 hexadecimal digits")
            for headers in ({"Holdfast-Task": NO_ID}, {"Holdfast-Attempt": NO_ID}, {"Holdfast-Task": "x"}, {"Holdfast-Attempt": ""}):
                reply = self.agent.object("PUT", name, task, content, headers)
                self.assertIn((reply.status, reply.json["error"]), ((404, "NOT_FOUND"), (409, "LOST"), (400, "INVALID")))
            with self.connection() as connection:  # told at once, before all of it was sent
                connection.putrequest("PUT", "/agent/v1/objects" + name)
                for header, value in (("Authorization", f"Bearer {self.agent.key}"), ("Holdfast-Protocol", "1"), ("Holdfast-Task", task["task"]),
                                      ("Holdfast-Attempt", task["attempt"]), ("Content-Length", (64 << 20) + 1)):
                    connection.putheader(header, value)
                connection.endheaders()
                answer = connection.getresponse()
                self.check_agent_error(Reply(answer.status, answer.headers, answer.read()), 413, "LIMIT", "longer than is taken here")
        finally:
            self.end(task)
        added = {one for one in set(self.server.objects()) - set(before) if "/m/" not in one}
        self.assertEqual(added, set(), "nothing but the void was put")

    # ---- Where it may listen ----

    def test_plain_http_for_other_hosts_only_when_told(self):
        for address in ("0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0"):
            process = harness.Process(self.scratch, f"open-{address.replace(':', '_')}", [
                harness.binary("HOLDFAST"), "server", "--data-dir", self.scratch.dir / "open", "--store", f"file://{self.scratch.dir}/open-store",
                "--listen", address]).start()
            self.assertEqual(process.wait(), 2, address)
            self.assertRegex(process.tail(), rf"(?m)^holdfast: listen on {re.escape(address)}: other hosts would send keys and data over plain HTTP; "
                                             r"hint: give --tls-cert and --tls-key, or listen on 127\.0\.0\.1, or say --plain-http")
        told = harness.Process(self.scratch, "told", [
            harness.binary("HOLDFAST"), "server", "--data-dir", self.scratch.dir / "told", "--store", f"file://{self.scratch.dir}/told-store",
            "--listen", "0.0.0.0:0", "--plain-http"]).start()
        url = told.line(r"^listening on (\S+)$").group(1)
        with urllib.request.urlopen(url + "/monitor/health", timeout=60) as answer:
            self.assertEqual(answer.status, 200)
        self.assertEqual(told.stop(), 0)


class Snapshots(Case):
    """A real snapshot, seen and handled through the public API only."""

    @classmethod
    def deploy(cls):
        cls.d = harness.Deployment(cls.scratch)
        harness.Writer(cls.d.set).load(300)
        cls.d.set.wait_checkpoint()
        cls.taken = cls.d.take("--retention-days", "2")
        cls.client = Client(cls.d.server)
        cls.project = cls.client.get(PUBLIC + "/groups").json["results"][0]["id"]
        cls.cluster = cls.client.get(f"{PUBLIC}/groups/{cls.project}/clusters").json["results"][0]["id"]
        cls.base = f"{PUBLIC}/groups/{cls.project}/clusters/{cls.cluster}"

    def test_a_snapshot_s_document(self):
        found = self.client.get(f"{self.base}/snapshots").json
        self.assertIn(self.taken["id"], [one["id"] for one in found["results"]])
        one = self.client.get(f"{self.base}/snapshots/{self.taken['id']}").json
        self.assertEqual((one["groupId"], one["clusterId"], one["complete"], one["doNotDelete"]), (self.project, self.cluster, True, False))
        self.assertRegex(one["created"]["date"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertEqual(one["created"]["increment"], self.taken["checkpoint"]["increment"])
        self.assertRegex(one["expires"], r"Z$")
        part, = one["parts"]
        self.assertEqual((part["typeName"], part["replicaSetName"], part["fcv"], part["mongodVersion"]),
                         ("REPLICA_SET", "rs0", "4.4", self.taken["serverVersion"]))
        self.assertEqual((part["dataSizeBytes"], part["encryptionEnabled"]), (self.taken["bytes"], True))
        self.assertEqual([link["rel"] for link in one["links"]], ["self"])
        self.assertEqual(one["links"][0]["href"], f"{self.client.url}{self.base}/snapshots/{self.taken['id']}")
        config = self.client.get(f"{PUBLIC}/groups/{self.project}/backupConfigs/{self.cluster}").json
        self.assertEqual((config["statusName"], config["storageEngineName"]), ("STARTED", "WIRED_TIGER"))

    def test_taken_on_demand_and_deleted(self):
        reply = self.client.call("POST", f"{self.base}/snapshots/onDemandSnapshot?retentionDays=3")
        self.assertEqual(reply.status, 200, reply.body)
        snapshot = reply.json["snapshotId"]
        again = self.client.call("POST", f"{self.base}/snapshots/onDemandSnapshot?retentionDays=3")
        if again.status != 200:  # unless the first was that quick
            self.check_error(again, 409, "UNSUPPORTED_FOR_CURRENT_CONFIG", "still being taken")
        else:
            self.d.wait_ended(again.json["snapshotId"])
        self.assertEqual(self.d.wait_ended(snapshot)["state"], "COMPLETE")
        path = f"{self.base}/snapshots/{snapshot}"
        self.assertTrue(self.client.get(path).json["complete"])
        reply = self.client.call("DELETE", path)
        self.assertEqual((reply.status, reply.json), (200, {}))
        self.check_error(self.client.get(path), 404, "SNAPSHOT_NOT_FOUND")
        self.check_error(self.client.call("DELETE", path), 404, "SNAPSHOT_NOT_FOUND")
        self.check_error(self.client.get(f"{self.base}/snapshots/{'f' * 24}"), 404, "SNAPSHOT_NOT_FOUND")

    def test_restores_and_downloads(self):
        self.d.restore(self.taken["id"], "api")
        job = self.client.get(f"{self.base}/restoreJobs").json["results"][0]
        self.assertEqual((job["snapshotId"], job["statusName"], job["pointInTime"]), (self.taken["id"], "FINISHED", False))
        self.assertEqual(self.client.get(f"{self.base}/restoreJobs/{job['id']}").json["id"], job["id"])
        if shutil.which("curl"):
            tar = self.scratch.dir / "curl.tar"
            status, _ = self.client.curl("-o", str(tar), path=f"{PRIVATE}/snapshots/{self.taken['id']}/tar")
            self.assertEqual(status, 200)
            top = harness.unpack(tar, self.scratch.dir / "curled")
            self.assertEqual(harness.trees_equal(self.d.restore_root / "api", top), "")
        reply = self.client.call("POST", f"{PRIVATE}/snapshots/{self.taken['id']}/verify", {"level": "everything"})
        self.check_error(reply, 400, "INVALID_ENUM_VALUE", "references, stored, content")
        reply = self.client.call("POST", f"{PRIVATE}/snapshots/{self.taken['id']}/verify", {"level": 3})
        self.check_error(reply, 400, "INVALID_JSON_ATTRIBUTE", "'level' must be a text")
        self.check_error(self.client.call("POST", f"{PRIVATE}/snapshots/{self.taken['id']}/cancel"), 409, "UNSUPPORTED_FOR_CURRENT_CONFIG",
                         "is COMPLETE")


class Projects(Case):
    """Two projects whose agents report sets of one name, and keys with roles."""

    @classmethod
    def deploy(cls):
        cls.server = harness.Server(cls.scratch).start()
        cls.owner = Client(cls.server)
        cls.first = cls.owner.get(PUBLIC + "/groups").json["results"][0]["id"]
        made = cls.owner.call("POST", PUBLIC + "/groups", {"name": "payroll"})
        assert made.status == 201, made.body
        cls.second, cls.agent_key = made.json["id"], made.json["agentApiKey"]
        cls.agents = [FakeAgent(cls.server, "a" * 24), FakeAgent(cls.server, "b" * 24, key=cls.agent_key)]
        for agent in cls.agents:
            assert agent.hello().status == 200

    def key(self, group, *roles, by=None):
        reply = (by or self.owner).call("POST", f"{PUBLIC}/groups/{group}/apiKeys", {"desc": "test", "roles": list(roles)})
        self.assertEqual(reply.status, 200, reply.body)
        return Client(self.server, reply.json["publicKey"], reply.json["privateKey"]), reply.json

    def group(self, project, rest=""):
        return f"{PUBLIC}/groups/{project}{rest}"

    def cluster(self, project):
        results = self.owner.get(self.group(project, "/clusters")).json["results"]
        return next(one["id"] for one in results if one["clusterName"] == "alpha")

    def test_sets_of_one_name_and_all_that_hangs_on_them_stay_apart(self):
        clusters = [self.cluster(project) for project in (self.first, self.second)]
        self.assertNotEqual(*clusters)
        for project, cluster in zip((self.first, self.second), clusters):
            reply = self.owner.call("PATCH", self.group(project, f"/backupConfigs/{cluster}"), {"statusName": "STARTED"})
            self.assertEqual(reply.status, 200, reply.body)
        taken = self.owner.call("POST", PRIVATE + "/snapshots?project=payroll", {"set": "alpha"})
        self.assertEqual(taken.status, 201, taken.body)
        snapshot = taken.json["id"]
        self.assertEqual(taken.json["projectId"], self.second)
        self.assertEqual(self.agents[0].captures(), [])
        task = self.agents[1].captures()[0]
        # The other project's agent has the task's names, and no right.
        theirs = {"Holdfast-Task": task["task"], "Holdfast-Attempt": task["attempt"]}
        self.check_agent_error(self.agents[0].call("GET", "/agent/v1/objects?prefix=j", headers=theirs), 403, "DENIED", "another project")
        # What is of another project is what does not exist, whatever path leads there.
        for path in (f"/snapshots/{snapshot}", f"/jobs/{clusters[1]}", f"/jobs/{clusters[1]}/policy"):
            here = self.owner.get(PRIVATE + path)
            nowhere = self.owner.get(PRIVATE + path.replace(snapshot, NO_ID).replace(clusters[1], NO_ID))
            self.assertEqual((here.status, here.json["errorCode"]), (404, nowhere.json["errorCode"]))
            self.assertEqual(self.owner.get(f"{PRIVATE}{path}?project={self.second}").status, 200)
        for project, other in ((self.first, clusters[1]), (self.second, clusters[0])):
            self.check_error(self.owner.get(self.group(project, f"/clusters/{other}")), 404, "CLUSTER_NOT_FOUND")
        for body in ({"snapshotId": snapshot, "directory": "/srv/x"}, {"snapshotId": snapshot, "target": "alpha"}):
            self.check_error(self.owner.call("POST", PRIVATE + "/restores", body), 404, "SNAPSHOT_NOT_FOUND" if "directory" in body else "RESOURCE_NOT_FOUND")
        self.check_error(self.owner.call("POST", PRIVATE + "/links", {"snapshotId": snapshot}), 404, "SNAPSHOT_NOT_FOUND")
        cancelled = self.owner.call("POST", f"{PRIVATE}/snapshots/{snapshot}/cancel?project=payroll")
        self.assertEqual(cancelled.status, 202, cancelled.body)

    def test_roles_decide(self):
        reader, _ = self.key(self.second, "GROUP_READ_ONLY")
        cluster = self.cluster(self.second)
        self.assertEqual([one["id"] for one in reader.get(PUBLIC + "/groups").json["results"]], [self.second])
        self.assertEqual(reader.get(self.group(self.second)).status, 200)
        self.assertEqual(reader.get(PRIVATE + "/status").json["projectName"], "payroll")
        for project in (self.first, NO_ID):
            self.check_error(reader.get(self.group(project)), 401, "NOT_IN_GROUP")
            self.check_error(reader.get(f"{PRIVATE}/jobs?project={project}"), 404, "GROUP_NOT_FOUND")
        for name in ("default", "nowhere"):
            self.check_error(reader.get(f"{PUBLIC}/groups/byName/{name}"), 404, "GROUP_NAME_NOT_FOUND")
        for method, path, body in (("PATCH", self.group(self.second, f"/backupConfigs/{cluster}"), {"statusName": "STARTED"}),
                                   ("POST", PRIVATE + "/snapshots", {"set": "alpha"}),
                                   ("POST", PUBLIC + "/groups", {"name": "mine"}),
                                   ("GET", PRIVATE + "/stores", None),
                                   ("GET", PUBLIC + "/globalAlerts", None)):
            self.check_error(reader.call(method, path, body), 401, "USER_UNAUTHORIZED")
        admin, _ = self.key(self.second, "GROUP_BACKUP_ADMIN")
        self.check_error(admin.get(self.group(self.second, "/agentapikeys")), 401, "USER_UNAUTHORIZED")
        self.check_error(admin.call("PATCH", self.group(self.second, f"/backupConfigs/{NO_ID}"), {"statusName": "STARTED"}), 404, "CLUSTER_NOT_FOUND")

    def test_nobody_gives_what_he_has_not(self):
        manager, _ = self.key(self.second, "GROUP_USER_ADMIN")
        path = self.group(self.second, "/apiKeys")
        for roles in (["GROUP_OWNER"], ["GROUP_READ_ONLY", "GROUP_BACKUP_ADMIN"]):
            self.check_error(manager.call("POST", path, {"desc": "more", "roles": roles}), 401, "USER_UNAUTHORIZED")
        for roles in (["GLOBAL_OWNER"], ["ORG_OWNER"], ["nobody"], [7]):
            self.check_error(manager.call("POST", path, {"desc": "more", "roles": roles}), 400, "INVALID_ENUM_VALUE")
        for body in ({"roles": ["GROUP_READ_ONLY"]}, {"desc": "x", "roles": []}, {"desc": "x"}):
            self.check_error(self.owner.call("POST", path, body), 400, "MISSING_ATTRIBUTE")
        self.key(self.second, "GROUP_READ_ONLY", by=manager)

    def test_a_secret_is_shown_once_and_a_removed_key_is_refused(self):
        path = self.group(self.second, "/apiKeys")
        client, made = self.key(self.second, "GROUP_READ_ONLY")
        listed = self.owner.get(path)
        self.assertNotIn(made["privateKey"], listed.body.decode())
        known = next(one for one in listed.json["results"] if one["id"] == made["id"])
        self.assertEqual(known["privateKey"], "********-****-****-****-********" + made["privateKey"][-4:])
        self.assertEqual(known["roles"], [{"groupId": self.second, "roleName": "GROUP_READ_ONLY"}])
        self.check_error(self.owner.call("DELETE", self.group(self.first, f"/apiKeys/{made['id']}")), 400, "API_KEY_NOT_FOUND")
        self.assertEqual(self.owner.call("DELETE", f"{path}/{made['id']}").status, 200)
        self.assertEqual(client.get(PUBLIC).status, 401)
        self.check_error(self.owner.call("DELETE", f"{path}/{made['id']}"), 400, "API_KEY_NOT_FOUND")
        # Of the installation.
        made = self.owner.call("POST", PUBLIC + "/admin/apiKeys", {"desc": "looks", "roles": ["GLOBAL_READ_ONLY"]}).json
        client = Client(self.server, made["publicKey"], made["privateKey"])
        self.assertLessEqual({self.first, self.second}, {one["id"] for one in client.get(PUBLIC + "/groups").json["results"]})
        self.assertEqual(client.get(PRIVATE + "/stores").status, 200)
        self.check_error(client.get(PRIVATE + "/jobs"), 400, "MISSING_QUERY_PARAMETER")
        self.check_error(client.get(PUBLIC + "/admin/apiKeys"), 401, "USER_UNAUTHORIZED")
        self.assertEqual(self.owner.call("DELETE", f"{PUBLIC}/admin/apiKeys/{made['id']}").status, 200)
        self.assertEqual(client.get(PUBLIC).status, 401)

    def test_a_revoked_agent_key_ends_its_agents_work(self):
        path = self.group(self.second, "/agentapikeys")
        made = self.owner.call("POST", path, {"desc": "rack 7"})
        self.assertEqual(made.status, 200, made.body)
        agent = FakeAgent(self.server, "c" * 24, ("beta",), key=made.json["key"])
        self.assertEqual(agent.hello().status, 200)
        self.assertEqual(agent.poll().status, 200)
        listed = self.owner.get(path)
        self.assertNotIn(made.json["key"], listed.body.decode())
        self.assertIn(("rack 7", "********" + made.json["key"][-4:]), [(one["desc"], one["key"]) for one in listed.json])
        self.check_error(self.owner.call("DELETE", self.group(self.first, f"/agentapikeys/{made.json['_id']}")), 404, "RESOURCE_NOT_FOUND")
        self.assertEqual(agent.poll().status, 200)
        self.assertEqual(self.owner.call("DELETE", f"{path}/{made.json['_id']}").status, 200)
        self.check_agent_error(agent.poll(), 401, "UNAUTHENTICATED")
        self.check_agent_error(agent.hello(), 401, "UNAUTHENTICATED")

    def test_the_command_line_names_the_project(self):
        owner = harness.Cli(self.scratch)
        profile = ["--profile", self.server.data / "cli.profile"]
        self.assertLessEqual({"default", "payroll"}, {one["name"] for one in owner("project", "list", *profile)["results"]})
        ids = {name: owner("server", "status", *profile, "--project", name)["projectId"] for name in ("default", "payroll", self.second)}
        self.assertEqual(ids, {"default": self.first, "payroll": self.second, self.second: self.second})
        owner.fails(3, "there is no project nowhere", "job", "list", *profile, "--project", "nowhere")
        # What is made is a profile; another project needs no word then.
        made = owner.run("apikey", "create", *profile, "--project", "payroll", "--role", "GROUP_READ_ONLY", "--desc", "reads")
        self.assertEqual(made.code, 0, made.err)
        reader = self.scratch.dir / "reader.profile"
        reader.write_text(made.out)
        reader.chmod(0o600)
        profile_of_reader = ["--profile", reader]
        self.assertEqual(owner("server", "status", *profile_of_reader)["projectName"], "payroll")
        owner.fails(17, "no role that may manage API keys", "apikey", "list", *profile_of_reader)
        listed = owner("apikey", "list", *profile, "--project", "payroll")["results"]
        key = next(one["id"] for one in listed if one["desc"] == "reads")
        # A profile may say the project too.
        both = self.scratch.dir / "both.profile"
        both.write_text((self.server.data / "cli.profile").read_text() + "project = payroll\n")
        both.chmod(0o600)
        self.assertEqual(owner("server", "status", "--profile", both)["projectId"], self.second)
        self.assertEqual(owner.run("apikey", "remove", key, "--profile", both).code, 0)
        owner.fails(17, "does not know this API key", "server", "status", *profile_of_reader)
        agent_key = owner("apikey", "create", *profile, "--agents", "--desc", "rack 8")
        self.assertIn(agent_key["_id"], [one["_id"] for one in owner("apikey", "list", *profile, "--agents")["results"]])
        self.assertEqual(owner.run("apikey", "remove", agent_key["_id"], *profile, "--agents").code, 0)
        owner.fails(2, "of no use", "apikey", "create", *profile, "--desc", "x")
        org = owner("org", "create", "branch", *profile)["id"]
        self.assertIn("branch", [one["name"] for one in owner("org", "list", *profile)["results"]])
        self.assertEqual(owner("project", "create", "depot", *profile, "--organization", org)["orgId"], org)

    def test_organizations(self):
        first = self.owner.get(PUBLIC + "/orgs").json["results"]
        self.assertIn(self.owner.get(self.group(self.first)).json["orgId"], [one["id"] for one in first])
        made = self.owner.call("POST", PUBLIC + "/orgs", {"name": "subsidiary"})
        self.assertEqual((made.status, made.json["name"]), (201, "subsidiary"), made.body)
        org = f"{PUBLIC}/orgs/{made.json['id']}"
        self.assertEqual([one["name"] for one in self.owner.get(PUBLIC + "/orgs?name=sub").json["results"]], ["subsidiary"])
        self.assertEqual(self.owner.get(org + "/groups").json["results"], [])

        def key(role):
            reply = self.owner.call("POST", org + "/apiKeys", {"desc": role, "roles": [role]})
            self.assertEqual(reply.status, 200, reply.body)
            return Client(self.server, reply.json["publicKey"], reply.json["privateKey"]), reply.json["id"]

        creator, creator_id = key("ORG_GROUP_CREATOR")
        owner, _ = key("ORG_OWNER")
        self.check_error(creator.call("POST", PUBLIC + "/groups", {"name": "theirs"}), 401, "USER_UNAUTHORIZED")
        self.check_error(creator.call("POST", PUBLIC + "/groups", {"name": "theirs", "orgId": NO_ID}), 404, "ORG_NOT_FOUND")
        self.check_error(creator.call("POST", PUBLIC + "/groups", {"name": "theirs", "orgId": first[0]["id"]}), 404, "ORG_NOT_FOUND")
        project = creator.call("POST", PUBLIC + "/groups", {"name": "theirs", "orgId": made.json["id"]})
        self.assertEqual((project.status, project.json["orgId"]), (201, made.json["id"]), project.body)
        # Its owner is owner of its projects, its creator is nobody in them, and neither is anybody elsewhere.
        self.assertEqual(owner.get(self.group(project.json["id"], "/agentapikeys")).status, 200)
        self.assertEqual([one["name"] for one in owner.get(PUBLIC + "/groups").json["results"]], ["theirs"])
        self.check_error(creator.get(self.group(project.json["id"])), 401, "USER_UNAUTHORIZED")
        for client in (owner, creator):
            self.check_error(client.get(self.group(self.first)), 401, "NOT_IN_GROUP")
            self.assertEqual([one["id"] for one in client.get(PUBLIC + "/orgs").json["results"]], [made.json["id"]])
            for other in (first[0]["id"], NO_ID, "x"):
                self.check_error(client.get(f"{PUBLIC}/orgs/{other}"), 404, "ORG_NOT_FOUND")
        self.check_error(creator.get(org + "/apiKeys"), 401, "USER_UNAUTHORIZED")
        self.check_error(owner.call("POST", org + "/apiKeys", {"desc": "x", "roles": ["GLOBAL_OWNER"]}), 400, "INVALID_ENUM_VALUE")
        self.assertEqual(owner.get(f"{org}/apiKeys/{creator_id}").json["roles"], [{"orgId": made.json["id"], "roleName": "ORG_GROUP_CREATOR"}])
        self.assertEqual(owner.call("DELETE", f"{org}/apiKeys/{creator_id}").status, 200)
        self.assertEqual(creator.get(PUBLIC).status, 401)

    def test_names_of_projects(self):
        self.check_error(self.owner.call("POST", PUBLIC + "/groups", {"name": "payroll"}), 409, "GROUP_ALREADY_EXISTS")
        for name in ("", " a", "a\u0001", "x" * 256):
            self.check_error(self.owner.call("POST", PUBLIC + "/groups", {"name": name}), 400, "INVALID_ATTRIBUTE")
        self.check_error(self.owner.call("POST", PUBLIC + "/groups", {}), 400, "MISSING_ATTRIBUTE")


if __name__ == "__main__":
    harness.main()
