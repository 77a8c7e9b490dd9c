#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Alerts, as people and programs meet them: raised and over by their causes in real processes, acknowledged, listed."""
import unittest

import harness
from harness import wait_for
from test_api import NO_ID, PUBLIC, Client


class Alerts(harness.TestCase):
    @classmethod
    def deploy(cls):
        cls.d = harness.Deployment(cls.scratch, 1, server_arguments=(
            "--alert-check-interval", "1s", "--alert-repeat-interval", "2s", "--agent-down-after", "3s", "--minimum-free-percent", "0",
            "--maximum-space-used-percent", "100"))
        cls.cli = cls.d.cli
        cls.d.wait_members()
        cls.client = Client(cls.d.server)
        cls.group = PUBLIC + "/groups/" + cls.client.get(PUBLIC + "/groups").json["results"][0]["id"]

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
        wait_for(lambda: self.alerts()[0]["notices"] >= 2, "it to be told again", every=0.3)

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


if __name__ == "__main__":
    unittest.main()
