#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Alerts, as people and programs meet them: raised and over by their causes in real processes, acknowledged, listed,
mailed and posted."""
import contextlib
import email
import email.utils
import hashlib
import hmac
import http.server
import json
import os
import re
import socket
import ssl
import subprocess
import threading
import unittest

import harness
import pymongo
from aiosmtpd.controller import Controller  # Debian's python3-aiosmtpd: packaging/debian-packages.txt
from aiosmtpd.smtp import AuthResult
from harness import wait_for
from test_api import NO_ID, PUBLIC, Client

PASSWORD, KEY = "the-mail-password", "the-webhook-key"


class Mails:
    """A mail server with TLS and a password."""

    def __init__(self, port, certificate):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificate)
        self.mails = []
        self.server = Controller(self, hostname="127.0.0.1", port=port, tls_context=context, require_starttls=True, auth_required=True,
                                 authenticator=self.authenticate)
        self.server.start()

    @staticmethod
    def authenticate(_server, session, _envelope, _mechanism, data):
        return AuthResult(success=session.ssl is not None and (data.login, data.password) == (b"holdfast", PASSWORD.encode()))

    async def handle_DATA(self, _server, _session, envelope):
        self.mails.append((envelope.mail_from, envelope.rcpt_tos, email.message_from_bytes(envelope.content)))
        return "250 OK"


class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.posts.append((self.path, dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def certificate(directory):
    made = directory / "mail.crt", directory / "mail.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                    "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-out", made[0], "-keyout", made[1]],
                   check=True, capture_output=True)
    return made


class Alerts(harness.TestCase):
    @classmethod
    def deploy(cls):
        cls.certificate = certificate(cls.scratch.dir)
        secrets = {"mail.password": PASSWORD, "hook.key": KEY}
        for name, text in secrets.items():
            (cls.scratch.dir / name).write_text(text + "\n")
        cls.ports = harness.free_port(), harness.free_port()
        cls.d = harness.Deployment(cls.scratch, 1, server_arguments=(
            "--alert-check-interval", "1s", "--alert-repeat-interval", "0", "--agent-down-after", "5s", "--minimum-free-percent", "0",
            "--maximum-space-used-percent", "100",
            "--smtp-url", f"smtp://127.0.0.1:{cls.ports[0]}", "--smtp-from", "holdfast@example.net", "--smtp-to", "ann@example.net",
            "--smtp-to", "bob@example.net", "--smtp-user", "holdfast", "--smtp-password-file", str(cls.scratch.dir / "mail.password"),
            "--smtp-ca-file", str(cls.certificate[0]), "--webhook-url", f"http://127.0.0.1:{cls.ports[1]}/hook?for=us",
            "--webhook-header", "X-Team: databases", "--webhook-secret-file", str(cls.scratch.dir / "hook.key")))
        cls.cli = cls.d.cli
        cls.d.wait_members()
        harness.wait_tail(cls.d.agents)
        cls.client = Client(cls.d.server)
        cls.group = PUBLIC + "/groups/" + cls.client.get(PUBLIC + "/groups").json["results"][0]["id"]

    @contextlib.contextmanager
    def receivers(self):
        mails = Mails(self.ports[0], self.certificate)
        hook = http.server.ThreadingHTTPServer(("127.0.0.1", self.ports[1]), Hook)
        hook.posts = []
        threading.Thread(target=hook.serve_forever, daemon=True).start()
        try:
            yield mails.mails, hook.posts
        finally:
            mails.server.stop()
            hook.shutdown()
            hook.server_close()

    def alerts(self, *words):
        return self.cli("alert", "list", *words)["results"]

    def wait_alert(self, kind, status, limit=120):
        def there():
            found = [one for one in self.alerts("--all", "--type", kind) if one["status"] == status]
            return found and found[0]
        return wait_for(there, f"{kind} {status}", limit, every=0.3)

    def test_an_agent_that_dies_and_comes_back(self):
        self.assertEqual(self.alerts(), [])
        agent = self.d.agents[0]
        agent.kill()
        alert = self.wait_alert("BACKUP_AGENT_DOWN", "OPEN")
        self.assertIn("nothing was heard of the agent on", alert["text"])
        self.assertEqual(alert["scope"], "PROJECT")

        # Acknowledged it rests; a stranger's client sees the same.
        shown = self.cli("alert", "acknowledge", alert["id"], "--comment", "the machine is being moved")
        self.assertEqual(shown["acknowledgementComment"], "the machine is being moved")
        public = self.client.get(f"{self.group}/alerts/{alert['id']}").json
        self.assertEqual((public["eventTypeName"], public["status"], public["acknowledgingUsername"]),
                         ("BACKUP_AGENT_DOWN", "OPEN", self.client.public))
        self.assertRegex(public["created"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertRegex(self.cli.run("alert", "show", alert["id"]).out, r"comment +the machine is being moved")
        listed = self.client.get(f"{self.group}/alerts?status=OPEN").json
        self.assertEqual([one["id"] for one in listed["results"]], [alert["id"]])
        self.assertEqual(self.client.get(f"{self.group}/alerts?status=CLOSED").json["totalCount"], 0)
        self.assertEqual(self.client.get(PUBLIC + "/globalAlerts").json["totalCount"], 1)

        # Nobody took mails and posts so far. What is to be told outlives the server, and is told once.
        wait_for(lambda: self.d.server.logged("notice.failed.* by=mail") and self.d.server.logged("notice.failed.* by=webhook"), "failed notices")
        self.d.server.stop()
        with self.receivers() as (mails, posts):
            self.d.server.start()
            wait_for(lambda: mails and posts, "the first notices", every=0.1)
            self.come_back(agent, alert)
            wait_for(lambda: len(mails) == 2 and len(posts) == 2, "the last notices", every=0.1)
            self.check_mails(alert, mails)
            self.check_posts(alert, posts)
        log = self.d.server.tail(100000)
        self.assertIn("notice.sent", log)
        for secret in (PASSWORD, KEY):
            self.assertNotIn(secret, log)

    def test_an_agent_whose_calls_are_refused(self):
        """Whatever the server's own reason: the agent reaches it, and is not told what to do."""
        server, agent = self.d.server, self.d.agents[0]
        agent.stop()
        server.stop()
        faults = ";".join(f"server.agents.poll:{i}=IO" for i in range(1, 13))
        server.start(env={"HOLDFAST_FAULTS": faults})
        agent.start(ready=False)
        alert = self.wait_alert("BACKUP_AGENT_CONF_CALL_FAILURE", "CLOSED")
        self.assertIn("times in a row for what it is to do, and was refused: injected fault at server.agents.poll", alert["text"])
        server.stop()
        server.start()

    def check_mails(self, alert, mails):
        self.assertEqual([mail[:2] for mail in mails], [("holdfast@example.net", ["ann@example.net", "bob@example.net"])] * 2)
        opened, closed = (mail[2] for mail in mails)
        self.assertRegex(opened["Subject"], r"^\[holdfast\] OPEN BACKUP_AGENT_DOWN: \S")
        self.assertRegex(closed["Subject"], r"^\[holdfast\] CLOSED BACKUP_AGENT_DOWN: \S")
        self.assertIsNotNone(email.utils.parsedate_to_datetime(opened["Date"]))
        self.assertNotEqual(opened["Message-ID"], closed["Message-ID"])
        text = opened.get_payload()
        self.assertIn("nothing was heard of the agent on", text)
        self.assertIn(f"holdfast alert acknowledge {alert['id']}", text)

    def check_posts(self, alert, posts):
        for path, headers, body in posts:
            self.assertEqual((path, headers["X-Team"], headers["Content-Type"]), ("/hook?for=us", "databases", "application/json"))
            self.assertEqual(headers["X-Holdfast-Signature"], "sha256=" + hmac.new(KEY.encode(), body, hashlib.sha256).hexdigest())
        opened, closed = (json.loads(body) for _, _, body in posts)
        self.assertEqual([(one["eventTypeName"], one["status"], one["what"], one["alertId"]) for one in (opened, closed)],
                         [("BACKUP_AGENT_DOWN", "OPEN", "OPEN", alert["id"]), ("BACKUP_AGENT_UP", "CLOSED", "CLOSED", alert["id"])])
        self.assertEqual(posts[0][1]["X-Holdfast-Notice"], opened["id"])

    def come_back(self, agent, alert):
        agent.start()
        closed = self.wait_alert("BACKUP_AGENT_DOWN", "CLOSED")
        self.assertEqual(closed["id"], alert["id"])
        self.assertEqual(self.alerts(), [])
        told = [one["type"] for one in self.cli("event", "list")["results"] if one["type"].startswith("BACKUP_AGENT_")]
        self.assertEqual(told, ["BACKUP_AGENT_UP", "BACKUP_AGENT_DOWN"])
        self.cli.fails(6, "is CLOSED: there is nothing to acknowledge", "alert", "acknowledge", alert["id"])

    def test_a_careless_client_is_told_what_is_wrong(self):
        def refusal(reply):
            return reply.status, reply.json["errorCode"]
        get, patch = self.client.get, lambda path, body: self.client.call("PATCH", self.group + path, body)
        self.assertEqual(refusal(get(self.group + "/alerts/nonsense")), (404, "INVALID_ALERT_ID"))
        self.assertEqual(refusal(get(f"{self.group}/alerts/{NO_ID}")), (404, "ALERT_NOT_FOUND"))
        self.assertEqual(refusal(get(self.group + "/alerts?status=BAD")), (400, "INVALID_QUERY_PARAMETER"))
        self.assertEqual(refusal(patch(f"/alerts/{NO_ID}", {"acknowledgedUntil": "2030-01-01"})), (404, "ALERT_NOT_FOUND"))
        self.cli.fails(3, "there is no alert", "alert", "show", NO_ID)


class OldAgent(harness.Proxy):
    """The agent behind it says that it is of an older release."""

    class Rewritten:
        def __init__(self, source):
            self.source = source

        def recv(self, count):
            return self.source.recv(count).replace(b'"release":"0.1.', b'"release":"0.0.')

        def __getattr__(self, name):
            return getattr(self.source, name)

    def _pump(self, source, sink, up):
        super()._pump(self.Rewritten(source) if up else source, sink, up)


class Kinds(harness.TestCase):
    """Each alert that a deployment of one member can have, by its cause; thresholds are configured so that it takes seconds."""

    @classmethod
    def deploy(cls):
        cls.certificate = certificate(cls.scratch.dir)
        cls.hook = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
        cls.hook.posts, cls.hook.hangs = [], threading.Event()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*cls.certificate)
        cls.hook.socket = context.wrap_socket(cls.hook.socket, server_side=True)
        threading.Thread(target=cls.hook.serve_forever, daemon=True).start()
        cls.silent = socket.create_server(("127.0.0.1", 0))  # takes a connection, and never answers
        cls.template = cls.scratch.dir / "body"
        cls.template.write_text('{"message": "{{what}} {{ alertTypeName }}: {{text}}", "times": {{notices}}}')
        (cls.scratch.dir / "token").write_text("Bearer the-header-token\n")
        cls.d = harness.Deployment(cls.scratch, 1, schedule=True, server_arguments=(
            "--alert-check-interval", "1s", "--alert-repeat-interval", "0", "--agent-down-after", "0", "--minimum-free-percent", "0",
            "--maximum-space-used-percent", "100", "--minimum-oplog-window", "0", "--oplog-slice-age", "1s", "--server-down-after", "5m",
            "--webhook-url", f"https://127.0.0.1:{cls.hook.server_port}/services/the-secret-path",
            "--webhook-ca-file", str(cls.certificate[0]), "--webhook-template", str(cls.template),
            "--webhook-header", f"Authorization: @{cls.scratch.dir / 'token'}"))
        cls.cli, cls.server, cls.agent = cls.d.cli, cls.d.server, cls.d.agents[0]
        harness.wait_tail(cls.d.agents)
        cls.over = threading.Event()
        threading.Thread(target=cls.write, daemon=True).start()

    @classmethod
    def tearDownClass(cls):
        cls.over.set()
        cls.hook.shutdown()
        cls.hook.server_close()
        cls.silent.close()
        super().tearDownClass()

    @classmethod
    def write(cls):
        """The set is never quiet: its oplog is as old as what was saved of it."""
        client = pymongo.MongoClient(cls.d.set.members[0].address, directConnection=True, **harness.FAST)
        while not cls.over.wait(0.2):
            with contextlib.suppress(pymongo.errors.PyMongoError):
                client.beat.one.update_one({"_id": 1}, {"$inc": {"n": 1}}, upsert=True)
        client.close()

    def configure(self, kind, *words):
        return self.cli("alert", "config", "set", kind, *words)["results"][0]

    def reset(self, kind):
        self.cli.run("alert", "config", "reset", kind)

    wait_alert = Alerts.wait_alert
    alerts = Alerts.alerts

    def test_disks(self):
        for kind, limit in (("OUTSIDE_SPACE_USED_THRESHOLD", "0"), ("LOW_CATALOG_FREE_SPACE", "100")):
            self.assertEqual(self.configure(kind, "--threshold", limit)["threshold"]["threshold"], int(limit))
        for kind in ("OUTSIDE_SPACE_USED_THRESHOLD", "LOW_CATALOG_FREE_SPACE"):
            self.assertEqual(self.wait_alert(kind, "OPEN")["scope"], "SYSTEM")
            self.reset(kind)
        for kind in ("OUTSIDE_SPACE_USED_THRESHOLD", "LOW_CATALOG_FREE_SPACE"):
            self.wait_alert(kind, "CLOSED")

    def test_no_agent_no_oplog_no_snapshot(self):
        """And one that comes back and says that it is an older release."""
        self.cli("policy", "set", "--set", "rs0", "--interval", "15m")
        self.configure("OPLOG_BEHIND", "--threshold", "6")
        self.configure("LATE_SNAPSHOT", "--threshold", "1")
        self.agent.stop()
        behind, late = self.wait_alert("OPLOG_BEHIND", "OPEN"), self.wait_alert("LATE_SNAPSHOT", "OPEN")
        self.assertIn("at most 6 s are allowed", behind["text"])
        self.assertEqual((behind["replicaSetName"], late["scope"]), ("rs0", "GLOBAL"))
        line = OldAgent(self.server.port)
        self.addCleanup(line.close)
        at = self.agent.command.index(self.server.url)
        self.agent.command[at] = line.url
        self.agent.start()
        self.wait_alert("OPLOG_BEHIND", "CLOSED")
        self.assertIn("has release 0.0.0, the server 0.1.0", self.wait_alert("BACKUP_AGENT_VERSION_BEHIND", "OPEN")["text"])
        self.agent.stop()
        self.agent.command[at] = self.server.url
        self.agent.start()
        self.wait_alert("BACKUP_AGENT_VERSION_BEHIND", "CLOSED")
        self.d.wait_members()
        self.configure("LATE_SNAPSHOT", "--threshold", "20")
        self.d.take()
        self.wait_alert("LATE_SNAPSHOT", "CLOSED")

    def test_a_server_that_was_away_whose_work_fails(self):
        clock = self.scratch.dir / "server.clock"
        self.configure("CRON_JOB_FAILED", "--threshold", "2", "--delay", "0")
        self.server.kill()
        clock.write_text(str(600 * 1000))
        faults = ";".join(f"server.job.ticked:{i}=IO" for i in range(1, 5))
        self.server.start(env={"HOLDFAST_TEST_CLOCK": str(clock), "HOLDFAST_FAULTS": faults})
        self.assertIn("and nobody had stopped it", self.wait_alert("DAEMON_DOWN", "CLOSED")["text"])
        self.assertIn("periodic work 'jobs' failed", self.wait_alert("CRON_JOB_FAILED", "OPEN")["text"])
        self.wait_alert("CRON_JOB_FAILED", "CLOSED")
        self.server.stop()
        self.server.start()
        self.d.wait_members()

    def test_receivers(self):
        """A template that gives nothing, a receiver that hangs, one that may not be reached, a window of maintenance."""
        self.template.write_text("{{nonsense}}")
        alert = self.wait_alert("WEBHOOK_TEMPLATE_FAILED", "OPEN")
        self.assertIn("'{{nonsense}}' is nothing that an alert has", alert["text"])
        path, headers, body = wait_for(lambda: [one for one in self.hook.posts if b"WEBHOOK_TEMPLATE_FAILED" in one[2]], "the usual body")[0]
        self.assertEqual((path, headers["Authorization"], json.loads(body)["what"]),
                         ("/services/the-secret-path", "Bearer the-header-token", "OPEN"))
        self.template.write_text('{"message": "{{what}} {{ alertTypeName }}: {{text}}", "times": {{notices}}}')
        self.wait_alert("WEBHOOK_TEMPLATE_FAILED", "CLOSED")
        told = wait_for(lambda: [one for one in self.hook.posts if b"CLOSED WEBHOOK_TEMPLATE_FAILED" in one[2]], "the body of the template")
        self.assertEqual(sorted(json.loads(told[0][2])), ["message", "times"])

        # One receiver hangs, one is not there; who else is to be told of the same is told.
        silent = f"webhook:http://127.0.0.1:{self.silent.getsockname()[1]}/the-other-secret"
        nobody = f"webhook:http://127.0.0.1:{harness.free_port()}/the-third-secret"
        shown = self.configure("OUTSIDE_SPACE_USED_THRESHOLD", "--threshold", "0", "--notify", f"{silent},{nobody},webhook")
        self.assertIn("/...", shown["notify"])
        self.configure("NOTICES_UNDELIVERED", "--threshold", "1")
        told = len(self.hook.posts)
        wait_for(lambda: any(b"OUTSIDE_SPACE_USED_THRESHOLD" in one[2] for one in self.hook.posts[told:]), "the notice beside the one that hangs")
        alert = self.wait_alert("NOTICES_UNDELIVERED", "OPEN")
        self.assertIn("/...", alert["text"])
        self.reset("NOTICES_UNDELIVERED")
        self.reset("OUTSIDE_SPACE_USED_THRESHOLD")
        self.cli.fails(2, "is nobody who can be told", "alert", "config", "set", "OPLOG_BEHIND", "--notify", "webhook:ftp://x")
        self.cli.fails(2, "has no threshold", "alert", "config", "set", "RESYNC_REQUIRED", "--threshold", "3")
        self.cli.fails(3, "no configuration of alerts", "alert", "config", "set", "NONSENSE", "--disabled")

        window = self.cli("alert", "window", "add", "--lasts", "1h", "--description", "the move")["results"][0]
        self.assertEqual(self.cli("alert", "window", "list")["results"][0]["id"], window["id"])
        self.assertEqual(self.cli.run("alert", "window", "remove", window["id"]).code, 0)
        self.assertEqual(self.cli("alert", "window", "list")["totalCount"], 0)
        log = self.server.tail(100000)
        for secret in ("the-secret-path", "the-other-secret", "the-third-secret", "the-header-token"):
            self.assertNotIn(secret, re.sub(r"(?m)^---- .*$", "", log))


if not os.environ.get("HOLDFAST_SOAK"):  # they wait for the patience of agents and of periodic work
    del Alerts.test_an_agent_whose_calls_are_refused, Kinds.test_a_server_that_was_away_whose_work_fails


if __name__ == "__main__":
    unittest.main()
