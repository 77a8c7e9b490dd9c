#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""/metrics, read by promtool and by whoever may; the dashboard for Grafana names nothing that is not there."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import unittest
import urllib.error
import urllib.request

import harness

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
NAME = r"\b(?:holdfast|process)_[a-z0-9_]+\b"


def promtool():
    """Of Debian's package prometheus (packaging/debian-packages.txt); HOLDFAST_TEST_PROMTOOL names another one."""
    return os.environ.get("HOLDFAST_TEST_PROMTOOL") or shutil.which("promtool")


def samples(text):
    """{(name, labels): value}"""
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, labels, value = re.fullmatch(r"(\w+)(\{.*\})? (\S+)", line).groups()
            assert (name, labels) not in found, line
            found[name, labels or ""] = float(value)
    return found


class Metrics(harness.TestCase):
    @classmethod
    def deploy(cls):
        cls.token = cls.scratch.dir / "metrics.token"
        cls.token.write_text("a-long-secret\n")
        cls.d = harness.Deployment(cls.scratch, 1, server_arguments=("--metrics-token-file", str(cls.token)))
        cls.d.wait_members()
        cls.d.take()

    def get(self, headers=None):
        request = urllib.request.Request(self.d.server.url + "/metrics", headers=headers or {})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.headers, answer.read().decode()

    def test_the_figures(self):
        headers, text = self.get()
        self.assertEqual(headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")
        found = samples(text)
        for name, labels, value in [("holdfast_jobs", '{state="STARTED"}', 1), ("holdfast_jobs", '{state="STOPPED"}', 0),
                                    ("holdfast_captures_total", '{outcome="complete"}', 1), ("holdfast_captures_total", '{outcome="failed"}', 0),
                                    ("holdfast_snapshots", '{state="COMPLETE"}', 1), ("holdfast_agents", '{state="connected"}', 1),
                                    ("holdfast_snapshot_failures_in_a_row", '{project="default",set="rs0"}', 0)]:
            self.assertEqual(found[name, labels], value, (name, labels))
        record = self.d.cli("snapshot", "list")["results"][0]
        self.assertEqual(found["holdfast_last_snapshot_bytes", '{project="default",set="rs0"}'], record["bytes"])
        self.assertEqual(found["holdfast_last_snapshot_timestamp_seconds", '{project="default",set="rs0"}'], record["createdS"])
        self.assertGreater(found["process_resident_memory_bytes", ""], 1 << 20)
        self.assertGreater(found["holdfast_http_requests_total", '{from="agent"}'], 0)
        # They move: another snapshot, another count, a later time.
        self.d.take()
        later = samples(self.get()[1])
        self.assertEqual(later["holdfast_captures_total", '{outcome="complete"}'], 2)
        self.assertGreaterEqual(later["holdfast_last_snapshot_timestamp_seconds", '{project="default",set="rs0"}'], record["createdS"])
        self.assertGreater(later["holdfast_http_requests_total", '{from="client"}'], found["holdfast_http_requests_total", '{from="client"}'])
        self.check_promtool(text)
        self.check_dashboard(text)

    def check_promtool(self, text):
        tool = promtool()
        self.assertIsNotNone(tool, "promtool is missing: tools/setup.sh installs Debian's package prometheus")
        checked = subprocess.run([tool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual((checked.returncode, checked.stdout + checked.stderr), (0, ""))

    def check_dashboard(self, text):
        there = set(re.findall(r"^# TYPE (\S+)", text, re.M))
        board = json.loads((ROOT / "docs/grafana/holdfast.json").read_text())
        shown = {name for panel in board["panels"] for target in panel["targets"] for name in re.findall(NAME, target["expr"])}
        self.assertGreater(len(shown), 15)
        self.assertEqual(shown - there, set())
        page = (ROOT / "docs/user/metrics.md").read_text()
        self.assertEqual(there - set(re.findall(NAME, page)), set(), "docs/user/metrics.md lacks them")
        self.assertEqual(set(re.findall(NAME, page)) - there, set(), "docs/user/metrics.md has what is not there")

    def refused(self, headers):
        with self.assertRaises(urllib.error.HTTPError) as caught:
            self.get(headers)
        with caught.exception as error:
            return error.code, json.loads(error.read())["errorClass"]

    def test_who_may_read_them(self):
        """A request that a proxy forwards is not this host's, whatever address it comes from."""
        for header in ("X-Forwarded-For", "Forwarded", "Via"):
            self.assertEqual(self.refused({header: "192.0.2.1"}), (403, "DENIED"))
        forwarded = {"X-Forwarded-For": "192.0.2.1"}
        for wrong in ("Bearer a-long-secre", "Bearer a-long-secret2", "Bearer ", "Basic a-long-secret"):
            self.assertEqual(self.refused({**forwarded, "Authorization": wrong}), (403, "DENIED"))
        self.assertIn("holdfast_build_info", self.get({**forwarded, "Authorization": "Bearer a-long-secret"})[1])


if __name__ == "__main__":
    unittest.main()
