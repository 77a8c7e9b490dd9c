# SPDX-License-Identifier: Apache-2.0
"""Several server processes on one catalog: one dies in the middle of a capture and the other goes on; an agent goes on with the next
server; what one server has for an agent that waits at another reaches it; a server is drained, and stopped."""

import unittest

import harness
from harness import wait_for

SILENCE = ["--server-silence", "2s", "--task-silence", "20s"]


def other_server(scratch, first, arguments=()):
    """Another process on the same data directory and store."""
    server = harness.Server(scratch, "other", store=first.store_dir, arguments=arguments)
    server.command[server.command.index(str(server.data))] = str(first.data)
    server.data = first.data
    return server


class Servers(harness.TestCase):
    @classmethod
    def deploy(cls):
        cls.first = harness.Server(cls.scratch, arguments=SILENCE).start()
        cls.other = other_server(cls.scratch, cls.first, SILENCE).start()
        cls.set = harness.ReplicaSet(cls.scratch, 1)
        host = cls.set.members[0].host
        cls.agent = harness.Agent(cls.scratch, "agent", cls.first, host, [host], url=f"{cls.first.url},{cls.other.url}",
                                  arguments=["--rate-limit", "4MiB"]).start()
        cls.cli = harness.Cli(cls.scratch)
        database = cls.set.client().app
        for i in range(8):
            database.things.insert_many([{"_id": i * 64 + k, "pad": harness.random.Random(i * 64 + k).randbytes(16384)} for k in range(64)])
        cls.set.wait_checkpoint()
        wait_for(lambda: any(one["members"] for one in cls.ask(cls.first, "agent", "list")["results"]), "the member at the server")
        cls.ask(cls.first, "job", "start", "--set", "rs0")

    @classmethod
    def ask(cls, server, *words):
        return cls.cli(*words, "--server", server.url)

    def servers(self, at):
        return {one["name"]: one for one in self.ask(at, "server", "list")["results"]}

    def name(self, server):
        return f"127.0.0.1:{server.port}"

    def owner(self):
        """The server that has the job, and the other one. Each tells what it saw at its last look."""

        def found():
            jobs = {name: one["jobs"] for name, one in self.servers(self.first).items()}
            return next(((one, rest) for one, rest in ((self.first, self.other), (self.other, self.first)) if jobs.get(self.name(one)) == 1), None)

        return wait_for(found, "the server that has the job", every=0.2)

    def test_1_one_dies_in_a_capture_and_the_other_goes_on(self):
        owner, survivor = self.owner()
        snapshot = self.ask(owner, "snapshot", "take", "--set", "rs0", "--no-wait")["id"]

        def state():
            return self.ask(survivor, "snapshot", "show", "--snapshot", snapshot)

        wait_for(lambda: state().get("progress", {}).get("phase") == "capture", "the capture to run", every=0.1)
        owner.kill()
        self.assertEqual(state()["state"], "IN_PROGRESS")
        wait_for(lambda: state()["state"] != "IN_PROGRESS", "the end of the capture", every=0.2)
        self.assertEqual(state()["state"], "COMPLETE", "the agent went on at the other server")
        wait_for(lambda: self.servers(survivor)[self.name(survivor)]["jobs"] == 1, "the job to be taken over")
        self.assertEqual(self.servers(survivor)[self.name(owner)]["state"], "DEAD")
        self.assertIsNotNone(survivor.logged(rf"server.jobs.taken from={self.name(owner)} jobs=1"))
        self.ask(survivor, "snapshot", "verify", "--snapshot", snapshot)
        owner.start()
        wait_for(lambda: self.servers(survivor)[self.name(owner)]["state"] == "RUNNING", "the dead one to be back")

    def test_2_a_task_of_one_server_wakes_an_agent_that_polls_at_the_other(self):
        # Each server is asked in turn: the agent polls at one of them alone.
        for server in (self.first, self.other):
            snapshot = self.ask(server, "snapshot", "take", "--set", "rs0", "--no-wait")["id"]
            wait_for(lambda: self.ask(server, "snapshot", "show", "--snapshot", snapshot).get("givenS"), "the agent to have begun", 15, every=0.1)
            wait_for(lambda: self.ask(server, "snapshot", "show", "--snapshot", snapshot)["state"] == "COMPLETE", "the snapshot", every=0.2)

    def test_3_a_drained_server_has_nothing_left_and_gets_nothing(self):
        owner, rest = self.owner()
        self.assertEqual(self.ask(rest, "server", "drain", self.name(owner))["state"], "DRAINED")
        self.assertEqual(self.servers(rest)[self.name(owner)]["jobs"], 0)
        wait_for(lambda: self.servers(rest)[self.name(rest)]["jobs"] == 1, "the job at the other server", every=0.2)
        self.assertEqual(owner.stop(), 0)
        snapshot = self.ask(rest, "snapshot", "take", "--set", "rs0")
        self.assertEqual(snapshot["state"], "COMPLETE")
        self.assertEqual(self.servers(rest)[self.name(owner)]["state"], "ENDED")
        self.ask(rest, "server", "remove", self.name(owner))
        self.assertNotIn(self.name(owner), self.servers(rest))
        self.ask(rest, "server", "set", self.name(rest), "--backup", "off")
        self.cli.fails(6, "begins no snapshots", "snapshot", "take", "--set", "rs0", "--server", rest.url)
        self.cli.fails(6, "lives", "server", "remove", self.name(rest), "--server", rest.url)
        self.ask(rest, "server", "set", self.name(rest), "--backup", "on")


if __name__ == "__main__":
    unittest.main(verbosity=2)
