#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Who changed what: audit events of people, agents and the server itself, through deaths at every step. Settings, and SIGHUP to
running processes."""
import json
import os
import pathlib
import signal
import socket
import subprocess
import unittest

import harness
from harness import wait_for
from test_api import NO_ID, PUBLIC, Client


class Events(harness.TestCase):
    @classmethod
    def deploy(cls):
        config, cls.agent_log = cls.scratch.dir / "events.conf", cls.scratch.dir / "agent.log"
        config.write_text("brs.snapshotSchedule.interval=12\nbrs.snapshotSchedule.retention.daily = 7\n")
        cls.d = harness.Deployment(cls.scratch, 1, server_arguments=("--alert-check-interval", "1s", "--config", config), start_job=False,
                                   agent_arguments=("--log-file", cls.agent_log))
        cls.server, cls.cli = cls.d.server, cls.d.cli
        cls.cli("settings", "set", "brs.snapshotSchedule.retention.base", "3")
        cls.cli("settings", "set", "brs.snapshotSchedule.retention.weekly", "none")
        cls.d.wait_members()
        cls.cli("job", "start", "--set", "rs0")
        cls.policy = cls.cli("policy", "show", "rs0")
        cls.client = Client(cls.server)
        cls.group = f"{PUBLIC}/groups/" + cls.client.get(PUBLIC + "/groups").json["results"][0]["id"]
        cls.job = cls.cli("job", "show", "--set", "rs0")["id"]

    def events(self, kind, *words):
        return self.cli("event", "list", "--kind", kind, *words)["results"]

    def backup(self, **changes):
        return self.client.call("PATCH", f"{self.group}/backupConfigs/{self.job}", changes)

    def test_what_somebody_did_is_an_event(self):
        """Who, what, on what, from where; refusals leave none; the public API's filters and pages."""
        started = self.events("RS_STATE_CHANGED_AUDIT", "--set", "rs0")
        self.assertEqual({(one["by"], one["targetId"]) for one in started if "PROVISIONING to STARTED" in one["text"]}, {("SERVER", self.job)})
        self.assertEqual({one["user"] for one in started if "statusName=STARTED" in one["text"]}, {self.client.public})
        self.assertEqual([one["user"] for one in self.events("AGENT_ADDED_AUDIT")], [self.d.agents[0].id()])

        snapshot = self.d.take()
        taken = self.events("SNAPSHOT_REQUESTED_AUDIT")[0]
        self.assertEqual((taken["targetId"], taken["outcome"], taken["user"]), (snapshot["id"], "DONE", self.client.public))
        self.cli("policy", "set", "--set", "rs0", "--daily-days", "8")
        self.assertIn("dailyRetentionDays=8", self.events("RS_SNAPSHOT_SCHEDULE_UPDATED_AUDIT")[0]["text"])
        self.cli("snapshot", "set", snapshot["id"], "--keep")
        self.cli.fails(6, "is marked to be kept", "snapshot", "delete", snapshot["id"])
        self.assertNotIn(snapshot["id"], [one["targetId"] for one in self.events("SNAPSHOT_DELETED_AUDIT")])
        self.assertEqual(self.backup(statusName="STARTED", password="hidden-by-name").status // 100, 4)

        self.cli("snapshot", "set", snapshot["id"], "--expires", "2100-01-01")
        self.cli("snapshot", "delete", snapshot["id"])
        self.assertEqual([one["targetId"] for one in self.events("SNAPSHOT_EXPIRY_UPDATED_AUDIT")], [snapshot["id"]] * 2)
        wanted = "/events?eventType=SNAPSHOT_DELETED_AUDIT&eventType=RESTORE_REQUESTED_AUDIT"
        event = self.client.get(self.group + wanted).json["results"][0]
        self.assertEqual((event["eventTypeName"], event["publicKey"], event["remoteAddress"], event["replicaSetName"], event["targetId"]),
                         ("SNAPSHOT_DELETED_AUDIT", self.client.public, "127.0.0.1", "rs0", snapshot["id"]))
        self.assertEqual(self.client.get(f"{self.group}/events/{event['id']}").json, event)
        self.assertIn(event["id"], [one["id"] for one in self.client.get(f"{PUBLIC}/globalEvents").json["results"]])
        at = event["created"]
        for query, count in ((f"minDate={at}&maxDate={at}", 1), ("maxDate=2020-01-01", 0), ("minDate=2100-01-01", 0)):
            self.assertEqual(self.client.get(f"{self.group}{wanted}&{query}").json["totalCount"], count)
        bad = self.client.get(self.group + "/events?minDate=yesterday")
        self.assertEqual((bad.status, bad.json["errorCode"]), (400, "INVALID_QUERY_PARAMETER"))
        bad = self.client.get(f"{self.group}/events/{NO_ID}")
        self.assertEqual((bad.status, bad.json["errorCode"]), (404, "EVENT_NOT_FOUND"))
        page = self.client.get(self.group + "/events?itemsPerPage=2&pageNum=2").json
        self.assertEqual(len(page["results"]), 2)
        self.assertEqual({one["rel"] for one in page["links"]}, {"self", "previous", "next"})

        self.assertEqual(len(self.cli("event", "list", "--limit", "3")["results"]), 3)
        self.assertEqual(self.events("SNAPSHOT_DELETED_AUDIT", "--until", "2020-01-01"), [])
        shown = self.cli.run("event", "show", event["id"]).out
        self.assertRegex(shown, rf"who +{self.client.public}\nfrom +127.0.0.1\nset +rs0\ntarget +{snapshot['id']}\noutcome +DONE")

    def test_no_change_without_its_event(self):
        """The server dies before the change, and after it: never a change that no event tells of."""
        def die(point, change):
            self.server.stop()
            self.server.start(env={"HOLDFAST_FAULTS": f"{point}=die"})
            with self.assertRaises(OSError):
                change()
            self.server.wait()
            self.server.start()

        snapshot = self.d.take()["id"]
        delete = f"{self.group}/clusters/{self.job}/snapshots/{snapshot}"
        die("server.audit.asked", lambda: self.client.call("DELETE", delete))
        self.assertEqual(self.cli("snapshot", "show", snapshot)["state"], "COMPLETE")
        asked = self.events("SNAPSHOT_DELETED_AUDIT")[0]
        self.assertEqual((asked["outcome"], asked["targetId"], asked["user"]), ("ASKED", snapshot, self.client.public))
        die("server.audit.changed", lambda: self.client.call("DELETE", delete))
        self.assertEqual(self.cli("snapshot", "show", snapshot)["state"], "EXPIRED")
        again, = [one for one in self.events("SNAPSHOT_DELETED_AUDIT") if one["id"] != asked["id"]]  # of one second they have no order
        self.assertEqual((again["outcome"], again["targetId"]), ("ASKED", snapshot))

        # What the server does by itself: one event, however often it begins.
        self.server.stop()
        self.server.start(env={"HOLDFAST_FAULTS": "server.terminate.gone=die"})
        self.backup(statusName="STOPPED")
        self.backup(statusName="TERMINATING")
        self.server.wait()
        self.server.start()
        wait_for(lambda: self.cli("job", "show", "--set", "rs0")["state"] == "INACTIVE", "the termination's end", every=0.3)
        gone = [one for one in self.events("RS_STATE_CHANGED_AUDIT") if "TERMINATING to INACTIVE" in one["text"]]
        self.assertEqual([one["by"] for one in gone], ["SERVER"])
        self.cli("job", "start", "--set", "rs0")
        wait_for(lambda: self.cli("job", "show", "--set", "rs0")["state"] == "STARTED", "the job to start again", every=0.3)

    def test_what_cannot_be_noted_is_not_done(self):
        self.server.stop()
        self.server.start(env={"HOLDFAST_FAULTS": "server.audit.asked=NO_SPACE"})
        wait_for(lambda: self.cli("agent", "list")["results"], "the agent")
        answer = self.client.call("PATCH", f"{self.group}/backupConfigs/{self.job}", {"statusName": "STOPPED"})
        self.assertEqual(answer.json["errorClass"], "NO_SPACE")
        self.assertIn("nothing was changed", answer.json["detail"])
        self.assertNotEqual(self.cli("job", "show", "--set", "rs0")["state"], "STOPPED")

    def test_settings_and_reload(self):
        """Default, catalog, file and option; a reload of the file; the log's file moved away; what a supervisor is told."""
        scratch = self.scratch.dir / "reload"
        scratch.mkdir()
        config, log, moved = scratch / "server.conf", scratch / "server.log", scratch / "server.log.1"
        name, percent = "brs.snapshotSchedule.interval", "mms.alerts.OutsideSpaceUsedThreshold.maximumSpaceUsedPercent"
        supervisor = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(supervisor.close)
        supervisor.bind(str(scratch / "notify"))
        supervisor.settimeout(120)
        config.write_text(f"# mine\nlog_level: info\n{percent} = 70\n")
        server = harness.Server(self.scratch, "reloaded", arguments=("--config", config, "--log-file", log, "--log-format", "json",
                                                                     "--point-in-time-window", "2h")).start({"NOTIFY_SOCKET": str(scratch / "notify")})
        self.addCleanup(server.stop)
        self.assertEqual(supervisor.recv(256), b"READY=1")
        cli = harness.Cli(self.scratch)

        def run(*words):
            return cli.run(*words, "--profile", server.data / "cli.profile")

        def setting(name):
            found = {one["name"]: one for one in json.loads(run("settings", "list", "--json").out)["results"]}
            return found[name]["value"], found[name]["source"]

        self.assertEqual(setting(name), ("24", "default"))
        self.assertEqual(setting(percent), ("70", "file"))
        self.assertEqual(setting("brs.pitWindowInHours"), ("2", "option"))
        self.assertIn("12, by catalog", run("settings", "set", name, "12").out)
        self.assertIn("70, by file", run("settings", "set", percent, "60").out)
        for words, why in (((name, "7"), "allowed: 6, 8, 12 or 24"), (("brs.snapshotSchedule.intervall", "6"), f"did you mean {name}"),
                           (("brs.pitWindowInHours", "1.2345"), "is no value; allowed: 0 to 87600, also 1.5")):
            refused = run("settings", "set", *words)
            self.assertEqual(refused.code, 2)
            self.assertIn(why, refused.err)
        changed = json.loads(run("event", "list", "--kind", "SERVER_SETTINGS_UPDATED_AUDIT", "--json").out)["results"]
        self.assertEqual({one["text"].split()[-1] for one in changed}, {"value=60", "value=12"})

        # Rotated by the system: lines are in the new file from the signal on, each a JSON object.
        def reload(text):
            config.write_text(text)
            log.rename(moved)
            server.signal(signal.SIGHUP)
            self.assertTrue(supervisor.recv(256).startswith(b"RELOADING=1\nMONOTONIC_USEC="))
            self.assertEqual(supervisor.recv(256), b"READY=1")
            return [json.loads(line) for line in log.read_text().splitlines() if '"reload.' in line][-1]

        told = reload(f"log_level: debug\nlisten: 127.0.0.1:1\nproject: other\n{percent} = 71\n{name} = 8\n")
        self.assertEqual((told["event"], told["changed"], told["needs_restart"]), ("reload.done", "log_level", "project"))
        wait_for(lambda: setting(name) == ("8", "file"), "the file's setting")
        self.assertEqual(setting(percent), ("71", "file"))
        for line in moved.read_text().splitlines():
            self.assertEqual(set(json.loads(line)) & {"time", "level", "event"}, {"time", "level", "event"})
        told = reload(f"{name} = 8\n{percent} = 101\n")
        self.assertEqual(told["event"], "reload.failed")
        self.assertIn(f"{percent} in {config} line 2: \"101\" is no value; allowed: 0 to 100", told["error"])
        self.assertEqual(setting(percent), ("71", "file"))
        self.assertIn("24, by default", (reload("\n"), run("settings", "unset", name))[1].out)
        server.stop()
        self.assertEqual(supervisor.recv(256), b"STOPPING=1")

    def test_a_new_job_has_its_schedule_from_the_settings(self):
        """Two of the file, two of the catalog, one that nobody set."""
        policy = {name: self.policy[name] for name in ("intervalMinutes", "dailyRetentionDays", "baseRetentionDays", "weeklyRetentionWeeks",
                                                       "monthlyRetentionMonths")}
        self.assertEqual(list(policy.values()), [720, 7, 3, 0, 1], policy)

    def test_an_agent_goes_on_at_a_hangup(self):
        agent, moved = self.d.agents[0], self.scratch.dir / "agent.log.1"
        self.agent_log.rename(moved)
        agent.signal(signal.SIGHUP)
        wait_for(lambda: self.agent_log.exists() and "reload.done" in self.agent_log.read_text(), "the agent to open its log and read its options again")
        self.assertNotIn("reload.done", moved.read_text())
        self.assertTrue(agent.alive())

    def test_the_units_are_good(self):
        for unit in (pathlib.Path(__file__).parents[2] / "packaging/systemd").glob("*.service"):
            copy = self.scratch.dir / unit.name.replace("@", "@rs0")
            copy.write_text(unit.read_text().replace("/usr/bin/holdfast", os.environ["HOLDFAST"]))
            checked = subprocess.run(["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True, timeout=120, check=False)
            mine = [line for line in checked.stderr.splitlines() if unit.name.split("@")[0].split(".")[0] in line]
            self.assertEqual((checked.returncode, mine), (0, []), checked.stderr)

    def test_the_page_of_settings_is_what_the_program_prints(self):
        page = (pathlib.Path(__file__).parents[2] / "docs/user/settings.md").read_text()
        self.assertIn(harness.Cli(self.scratch).run("settings", "manual").out, page)


if __name__ == "__main__":
    unittest.main()
