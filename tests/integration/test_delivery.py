#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Restores that are delivered by HTTP: links, and what is downloaded by them with curl, with Python, whole and in pieces.

Numbers in brackets are lines of the checklist in restore.md 17.
"""
import hashlib
import http.client
import os
import pathlib
import random
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import harness
from harness import wait_for
from test_api import Client

PUBLIC = "/api/public/v1.0"
PRIVATE = "/api/private/v1.0"
NO_LIMIT = 2147483647
SEED = int(os.environ.get("HOLDFAST_TEST_SEED") or (random.SystemRandom().randrange(1 << 32) if os.environ.get("HOLDFAST_SOAK") else 11))


def fetch(url, headers=None, method="GET", stop_after=None):
    """Status, headers, body. stop_after: the connection is dropped once so many bytes of the body are here."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    try:
        connection.request(method, parts.path, headers=headers or {})
        answer = connection.getresponse()
        if stop_after is None:
            return answer.status, answer.headers, answer.read()
        body = b""
        while len(body) < stop_after:
            piece = answer.read(min(65536, stop_after - len(body)))
            if not piece:
                break
            body += piece
        return answer.status, answer.headers, body
    finally:
        connection.close()


class Case(harness.TestCase):
    @classmethod
    def deploy(cls):
        cls.random = random.Random(SEED)
        print(f"seed {SEED}", file=sys.stderr)
        cls.d = harness.Deployment(cls.scratch)
        cls.server, cls.cli = cls.d.server, cls.d.cli
        cls.clock = cls.scratch.dir / "server.clock"
        cls.clock.write_text("0")
        cls.server.stop()
        cls.server.env["HOLDFAST_TEST_CLOCK"] = str(cls.clock)
        cls.server.start()
        cls.d.wait_members()
        # More than all buffers between server and client take, so that a broken download is one.
        writer = harness.Writer(cls.d.set)
        for name in writer.collections:
            writer.load(70, name, pad=60000)
        cls.d.set.wait_checkpoint()
        cls.hashes = harness.hashes_of(cls.d.set.client(), writer.database)
        cls.taken = cls.d.take("--retention-days", "2")
        cls.plain = cls.d.restore(cls.taken["id"], "plain")
        cls.client = Client(cls.server)
        cls.base = f"{PUBLIC}/groups/{cls.taken['projectId']}/clusters/{cls.taken['clusterId']}"

    def setUp(self):
        self.clock.write_text("0")

    def order(self, delivery=None, **source):
        """The public POST; the one job of its list."""
        body = {**(source or {"snapshotId": self.taken["id"]}), "delivery": {"methodName": "HTTP", **(delivery or {})}}
        reply = self.client.call("POST", f"{self.base}/restoreJobs", body)
        self.assertEqual(reply.status, 200, reply.body)
        self.assertEqual(reply.json["totalCount"], 1)
        self.assertIn("links", reply.json)
        job, = reply.json["results"]
        return job

    def job(self, job):
        return self.client.get(f"{self.base}/restoreJobs/{job['id']}").json

    def wait_status(self, job, word):
        return wait_for(lambda: (now := self.job(job))["delivery"]["statusName"] == word and now, f"the delivery to be {word}")

    def link(self, *words):
        return self.cli("restore", "link", "--snapshot", self.taken["id"], *words)

    def show(self, restore):
        return self.cli("restore", "show", restore["id"])

    def check_archive(self, content, name, label):
        """Unpacked with plain tar it is what a restore gives."""
        into = self.scratch.dir / f"unpacked-{label}"
        archive = self.scratch.dir / f"{label}-{name}"
        archive.write_bytes(content)
        into.mkdir()
        subprocess.run(["tar", "-xzf" if name.endswith(".gz") else "-xf", str(archive), "-C", str(into)], check=True)
        top, = into.iterdir()
        self.assertEqual(top.name, name.split(".tar")[0])
        self.assertEqual(harness.trees_equal(self.plain, top), "")
        archive.unlink()
        return top


class Delivery(Case):
    def test_one_hour_one_use_whole(self):
        """(4) (6) (17) (23): the default link, as a client that knows nothing of us uses it."""
        job = self.order()
        delivery = job["delivery"]
        self.assertEqual((job["statusName"], job["snapshotId"], job["pointInTime"]), ("FINISHED", self.taken["id"], False))
        self.assertEqual((delivery["methodName"], delivery["statusName"], delivery["maxDownloads"], delivery["expirationHours"]),
                         ("HTTP", "READY", 1, 1))
        self.assertNotIn("hashes", job)
        name = f"rs0-{self.taken['checkpoint']['seconds']}-{job['id']}.tar.gz"
        self.assertRegex(delivery["url"], rf"^{re.escape(self.server.url)}/backup/restore/v2/pull/{job['id']}/[0-9a-f]{{64}}/{re.escape(name)}$")
        made, expires = (time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")) for text in (job["created"], delivery["expires"]))
        self.assertEqual(expires - made, 3600)
        archive = self.scratch.dir / name
        done = subprocess.run(["curl", "-sSf", "--max-time", "60", "-OJ", "-w", "%{http_code} %{content_type}", delivery["url"]],
                              cwd=self.scratch.dir, capture_output=True, text=True, timeout=90)
        self.assertEqual((done.returncode, done.stdout), (0, "200 application/gzip"), done.stderr)
        content = archive.read_bytes()
        now = wait_for(lambda: (now := self.job(job)).get("hashes") and now, "the hash")
        self.assertEqual(now["hashes"], [{"typeName": "SHA1", "fileName": name, "hash": hashlib.sha1(content).hexdigest()}])
        self.assertEqual((now["statusName"], now["delivery"]["statusName"]), ("FINISHED", "MAX_DOWNLOADS_EXCEEDED"))
        self.assertNotIn("url", now["delivery"])
        status, _, body = fetch(delivery["url"])
        self.assertEqual((status, body), (410, b"the downloads of this link are used up\n"))
        top = self.check_archive(content, name, "whole")
        self.assertIn("Restore timestamp", (top / "restoreInfo.txt").read_text())
        with harness.opened(self.scratch, top, "delivered") as member:
            self.assertEqual(harness.hashes_of(member.client, "app"), self.hashes)
        self.assertIn(job["id"], [one["id"] for one in self.client.get(f"{self.base}/restoreJobs").json["results"]])

    def resume(self, url, cuts):
        """A download that breaks at each of the offsets and goes on there."""
        status, headers, body = fetch(url, stop_after=cuts[0])
        self.assertEqual(status, 200)
        size, etag = int(headers["Content-Length"]), headers["ETag"]
        self.assertEqual(headers["Accept-Ranges"], "bytes")
        for cut in [*cuts[1:], None]:
            at = len(body)
            status, headers, more = fetch(url, {"Range": f"bytes={at}-", "If-Range": etag}, stop_after=None if cut is None else cut - at)
            self.assertEqual((status, headers["Content-Range"]), (206, f"bytes {at}-{size - 1}/{size}"))
            body += more
        self.assertEqual(len(body), size)
        return body

    def test_a_broken_download_goes_on_where_it_broke(self):
        """(6): interrupted is said so; counted once; the hash of what came in pieces is that of the whole."""
        for words, label in (((), "tar"), (("--gzip",), "gz")):
            with self.subTest(label):
                made = self.link(*words)
                url, job = made["link"]["url"], {"id": made["id"]}
                first = self.random.randrange(1, 400000)
                status, _, begun = fetch(url, stop_after=first)
                self.assertEqual((status, len(begun)), (200, first))
                broken = self.wait_status(job, "INTERRUPTED")
                self.assertNotIn("hashes", broken)
                self.assertIn("url", broken["delivery"])
                self.assertRegex(self.show(made)["link"]["error"], "the client went away$")
                size = int(fetch(url, method="HEAD")[1]["Content-Length"])
                cuts = sorted(self.random.sample(range(1, size - 20000000), 4))  # what the systems between hold has gone out
                content = self.resume(url, cuts)
                self.assertEqual(content[:first], begun)
                now = wait_for(lambda: (now := self.job(job)).get("hashes") and now, "the hash")
                self.assertEqual(now["hashes"][0]["hash"], hashlib.sha1(content).hexdigest())
                self.assertEqual(now["delivery"]["statusName"], "MAX_DOWNLOADS_EXCEEDED")
                self.assertEqual(self.show(made)["link"]["downloads"], 1)
                self.check_archive(content, made["link"]["file"], f"resumed-{label}")

    def test_curl_resumes(self):
        made = self.link()
        part = self.scratch.dir / "curl.tar"
        _, _, begun = fetch(made["link"]["url"], stop_after=3333333)
        part.write_bytes(begun)
        done = subprocess.run(["curl", "-sSf", "--max-time", "60", "-C", "-", "-o", str(part), made["link"]["url"]], capture_output=True,
                              text=True, timeout=90)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.check_archive(part.read_bytes(), made["link"]["file"], "curled")

    def test_ranges(self):
        made = self.link("--no-limit", "--gzip")
        url = made["link"]["url"]
        self.assertEqual(made["link"]["maxDownloads"], NO_LIMIT)
        status, headers, whole = fetch(url)
        size, etag = len(whole), headers["ETag"]
        self.assertEqual((status, headers["Content-Type"]), (200, "application/gzip"))
        self.assertIn("no-store", headers["Cache-Control"])
        status, headers, body = fetch(url, method="HEAD")
        self.assertEqual((status, headers["Content-Length"], headers["ETag"], body), (200, str(size), etag, b""))
        for _ in range(12):
            at = self.random.randrange(size)
            end = min(size, at + 1 + self.random.choice([0, 10, 70000, 3000000]))
            status, headers, body = fetch(url, {"Range": f"bytes={at}-{end - 1}"})
            self.assertEqual((status, headers["Content-Range"]), (206, f"bytes {at}-{end - 1}/{size}"))
            self.assertTrue(body == whole[at:end], f"bytes {at} to {end}")
        self.assertEqual(fetch(url, {"Range": "bytes=-1024"})[2], whole[-1024:])
        status, headers, body = fetch(url, {"Range": f"bytes={size}-"})
        self.assertEqual((status, headers["Content-Range"], body), (416, f"bytes */{size}", b""))
        for header in ({"Range": "bytes=10-", "If-Range": '"another"'}, {"Range": "bytes=1-2,5-6"}, {"Range": "lines=1-2"}):
            status, headers, body = fetch(url, header)
            self.assertEqual((status, len(body), headers["Content-Range"]), (200, size, None), header)
        # The last byte counts, and a HEAD does not.
        before = self.show(made)["link"]["downloads"]
        fetch(url, {"Range": f"bytes=0-{size - 2}"})
        fetch(url, {"Range": "bytes=-1"})
        wait_for(lambda: self.show(made)["link"]["downloads"] == before + 1, "one more download")

    def both(self, url):
        """Two downloads that are both at their end before either has come to it: what each got."""
        size, got, barrier = int(fetch(url, method="HEAD")[1]["Content-Length"]), [None, None], threading.Barrier(2)

        def pull(i):
            parts = urllib.parse.urlsplit(url)
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
            connection.request("GET", parts.path)
            answer = connection.getresponse()
            body = answer.read(size - 3000000)
            barrier.wait(60)
            try:
                body += answer.read()
            except http.client.IncompleteRead as broken:
                body += broken.partial
            got[i] = body
            connection.close()

        threads = [threading.Thread(target=pull, args=(i,)) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return size, sorted(got, key=len)

    def test_two_at_once_get_no_more_than_are_allowed(self):
        made = self.link()
        size, (less, whole) = self.both(made["link"]["url"])
        self.assertEqual(len(whole), size)
        self.assertLess(len(less), size)  # all but the last byte, or less where it was slower
        self.assertEqual(less, whole[:len(less)])
        self.wait_status(made, "MAX_DOWNLOADS_EXCEEDED")
        self.assertEqual(self.show(made)["link"]["downloads"], 1)
        self.assertIsNotNone(wait_for(lambda: self.server.logged(r"link\.interrupted.*others have used up its downloads meanwhile"), "a line"))
        made = self.link("--downloads", "2")
        size, (one, other) = self.both(made["link"]["url"])
        self.assertEqual((len(one), one), (size, other))
        self.wait_status(made, "MAX_DOWNLOADS_EXCEEDED")
        self.assertEqual(self.show(made)["link"]["downloads"], 2)

    def test_keys(self):
        """(5): random, of one job, in no log; the catalog opens nothing."""
        made, other = self.link(), self.link()
        url = made["link"]["url"]
        head, key, name = url.rsplit("/", 2)
        other_key = other["link"]["url"].rsplit("/", 2)[1]
        self.assertNotEqual(key, other_key)
        wrong = [f"{head}/{other_key}/{name}", f"{head}/{key[:-1]}/{name}", f"{head}/{key}0/{name}", f"{head}/{key.upper()}/{name}",
                 f"{head}/{'0' * 64}/{name}", f"{head}/{key}/{name}x", f"{head}/{key}/{other['link']['file']}",
                 url.replace(made["id"], other["id"]), url.replace(made["id"], "0" * 24), url.replace(made["id"], "f" * 24), url.replace(made["id"], "x")]
        flipped = key[:10] + ("0" if key[10] != "0" else "1") + key[11:]
        wrong.append(f"{head}/{flipped}/{name}")
        for one in wrong:
            status, _, body = fetch(one)
            self.assertEqual((status, body), (404, b"there is no such link\n"), one)
        self.assertEqual((fetch(head)[0], fetch(f"{head}//{name}")[0]), (404, 400))
        self.assertEqual(fetch(url, method="POST")[0], 405)
        self.assertEqual(fetch(url, method="DELETE")[0], 405)
        status, _, body = fetch(url)
        self.assertEqual((status, self.wait_status(made, "MAX_DOWNLOADS_EXCEEDED")["id"]), (200, made["id"]))
        # Another project's job is read by nobody.
        self.assertEqual(self.client.get(f"{self.base}/restoreJobs/{'f' * 24}").status, 404)
        secret = self.server.data / "link.key"
        self.assertEqual(stat.S_IMODE(secret.stat().st_mode), 0o600)
        log = self.server.log.read_text() + self.server.out.read_text()
        for text in (key, other_key, secret.read_text().strip()):
            self.assertNotIn(text, log)
            for file in self.server.data.glob("catalog.sqlite*"):
                self.assertNotIn(text.encode(), file.read_bytes(), file)
        with sqlite3.connect(f"file:{self.server.data}/catalog.sqlite?mode=ro", uri=True) as catalog:
            self.assertIn(made["id"], "\n".join(catalog.iterdump()), "the catalog was looked at where it is")

    def test_expiry(self):
        """(4) (7) (9): by the server's clock; the job stays FINISHED; the snapshot is held until then."""
        snapshot = self.d.take("--retention-days", "1")
        job = self.order({"expirationHours": 2, "maxDownloads": 5}, snapshotId=snapshot["id"])
        url = job["delivery"]["url"]
        self.assertEqual((job["delivery"]["expirationHours"], job["delivery"]["maxDownloads"]), (2, 5))
        self.cli.fails(6, rf"a link to snapshot {snapshot['id']} can be used until \S+ \(restore {job['id']}\)", "snapshot", "delete", snapshot["id"])
        self.clock.write_text(str(7100 * 1000))
        self.assertEqual(fetch(url, method="HEAD")[0], 200)
        self.clock.write_text(str(7201 * 1000))
        status, _, body = fetch(url)
        self.assertEqual((status, body), (410, b"the link has expired\n"))
        now = self.job(job)
        self.assertEqual((now["statusName"], now["delivery"]["statusName"]), ("FINISHED", "EXPIRED"))
        self.assertNotIn("url", now["delivery"])
        # Never longer than the snapshot: the default is cut, what was asked for is refused.
        self.clock.write_text(str(int(23.5 * 3600 * 1000)))
        reply = self.client.call("POST", f"{self.base}/restoreJobs", {"snapshotId": snapshot["id"], "delivery": {"methodName": "HTTP", "expirationHours": 1}})
        self.assertEqual((reply.status, reply.json["errorCode"]), (409, "LINK_EXPIRATION_AFTER_SNAPSHOT_DELETION"))
        job = self.order(snapshotId=snapshot["id"])
        self.assertEqual(job["delivery"]["expires"], self.client.get(f"{self.base}/snapshots/{snapshot['id']}").json["expires"])
        self.clock.write_text(str(25 * 3600 * 1000))
        self.cli("snapshot", "delete", snapshot["id"])
        reply = self.client.call("POST", f"{self.base}/restoreJobs", {"snapshotId": snapshot["id"], "delivery": {"methodName": "HTTP"}})
        self.assertEqual((reply.status, reply.json["errorCode"]), (409, "CANNOT_START_RESTORE_JOB_FOR_DELETED_SNAPSHOT"))

    def test_a_restart_keeps_links(self):
        """(7): links, counts and the hold on the snapshot outlive the server, in the middle of a download too."""
        made = self.link("--downloads", "2")
        url, job = made["link"]["url"], {"id": made["id"]}
        parts = urllib.parse.urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        begun = answer.read(1000000)
        self.wait_status(job, "IN_PROGRESS")
        self.cli.fails(6, rf"snapshot {self.taken['id']} is being downloaded \(restore [0-9a-f]{{24}}\)|a link to snapshot", "snapshot", "delete",
                       self.taken["id"])
        self.server.signal(signal.SIGKILL)
        self.server.popen.wait()
        connection.close()
        self.server.start()
        self.assertEqual(self.job(job)["delivery"]["statusName"], "INTERRUPTED")
        self.assertEqual(self.job(job)["delivery"]["url"], url)
        status, headers, rest = fetch(url, {"Range": f"bytes={len(begun)}-"})
        self.assertEqual(status, 206)
        content = begun + rest
        now = wait_for(lambda: (now := self.job(job)).get("hashes") and now, "the hash")
        self.assertEqual(now["hashes"][0]["hash"], hashlib.sha1(content).hexdigest())
        # SIGTERM in the middle of a download ends the server all the same.
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        connection.request("GET", parts.path)
        connection.getresponse().read(100000)
        self.assertEqual(self.server.stop(), 0)
        connection.close()
        self.server.start()
        self.assertEqual(self.job(job)["delivery"]["statusName"], "INTERRUPTED")
        self.assertEqual(self.show(made)["link"]["downloads"], 1)
        self.check_archive(content, made["link"]["file"], "restarted")
        self.d.wait_members()

    def test_a_hash_that_the_server_s_death_prevented(self):
        made = self.link("--downloads", "2")
        url, job = made["link"]["url"], {"id": made["id"]}
        self.server.stop()
        self.server.start({"HOLDFAST_FAULTS": "server.link.hash=INTERNAL"})
        _, _, head = fetch(url, {"Range": "bytes=0-999"})
        _, _, tail = fetch(url, {"Range": "bytes=1000-"})
        wait_for(lambda: self.server.logged(r"link\.hash\.failed"), "the fault")
        self.assertEqual(self.show(made)["link"]["downloads"], 1)
        self.assertNotIn("hashes", self.job(job))
        self.server.stop()
        self.server.start()
        now = wait_for(lambda: (now := self.job(job)).get("hashes") and now, "the hash")
        self.assertEqual(now["hashes"][0]["hash"], hashlib.sha1(head + tail).hexdigest())
        self.d.wait_members()

    def test_withdrawn(self):
        made = self.link("--no-limit", "--hours", "5")
        url = made["link"]["url"]
        parts = urllib.parse.urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        answer.read(1000)
        self.cli("restore", "cancel", made["id"])
        with self.assertRaises(http.client.IncompleteRead):
            answer.read()
        connection.close()
        self.assertEqual(fetch(url)[0], 410)
        self.wait_status(made, "EXPIRED")
        self.cli.fails(6, f"the link of restore {made['id']} is EXPIRED already", "restore", "cancel", made["id"])

    def test_a_store_that_cannot_be_read(self):
        made = self.link()
        pack = self.server.store_dir / max(self.server.packs().items(), key=lambda one: one[1])[0]
        away = self.scratch.dir / "away"
        shutil.move(pack, away)
        try:
            with self.assertRaises(http.client.IncompleteRead):
                fetch(made["link"]["url"])
            failed = self.wait_status(made, "FAILED")
            self.assertEqual(failed["statusName"], "FINISHED")
            self.assertRegex(self.show(made)["link"]["error"], r"\.wt: block \S+ is in no object$")
        finally:
            shutil.move(away, pack)
        status, _, content = fetch(made["link"]["url"])
        self.assertEqual(status, 200)
        self.check_archive(content, made["link"]["file"], "mended")

    def test_what_clients_send(self):
        """(23): numbers as texts, reals and integers; what contradicts itself, or is missing, is refused by name."""
        snapshot = {"snapshotId": self.taken["id"]}
        for delivery in ({"maxDownloads": 3.0, "expirationHours": 2.0}, {"maxDownloads": "3", "expirationHours": "2"},
                         {"maxDownloads": 3, "expirationHours": 2, "targetGroupId": "", "expires": None}):
            job = self.order(delivery, **snapshot, checkPointId=None, oplogTs=None)
            self.assertEqual((job["delivery"]["maxDownloads"], job["delivery"]["expirationHours"]), (3, 2))
        expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 5000))
        job = self.order({"expires": expires}, **snapshot)
        self.assertEqual(job["delivery"]["expires"], expires)
        self.assertNotIn("expirationHours", job["delivery"])
        http_delivery = {"methodName": "HTTP"}
        for body, status, code in (
                ({**snapshot}, 400, "MISSING_ATTRIBUTE"),
                ({**snapshot, "delivery": {}}, 400, "MISSING_ATTRIBUTE"),
                ({**snapshot, "delivery": {"methodName": "SCP"}}, 400, "UNSUPPORTED_DELIVERY_METHOD"),
                ({"delivery": http_delivery}, 400, "MISSING_ONE_OF_ATTRIBUTES"),
                ({**snapshot, "oplogTs": "1795450521", "oplogInc": 3, "delivery": http_delivery}, 400, "INVALID_ATTRIBUTE"),
                ({**snapshot, "delivery": {**http_delivery, "expires": expires, "expirationHours": 1}}, 400, "INVALID_ATTRIBUTE"),
                ({**snapshot, "delivery": {**http_delivery, "expires": "tomorrow"}}, 400, "INVALID_ATTRIBUTE"),
                ({**snapshot, "delivery": {**http_delivery, "expires": "2001-01-01T00:00:00Z"}}, 400, "INVALID_ATTRIBUTE"),
                ({**snapshot, "delivery": {**http_delivery, "maxDownloads": 0}}, 400, "ATTRIBUTE_NEGATIVE_OR_ZERO"),
                ({**snapshot, "delivery": {**http_delivery, "maxDownloads": -1}}, 400, "ATTRIBUTE_NEGATIVE_OR_ZERO"),
                ({**snapshot, "delivery": {**http_delivery, "maxDownloads": 1.5}}, 400, "ATTRIBUTE_NEGATIVE_OR_ZERO"),
                ({**snapshot, "delivery": {**http_delivery, "expirationHours": "x"}}, 400, "ATTRIBUTE_NEGATIVE_OR_ZERO"),
                ({**snapshot, "delivery": {**http_delivery, "colour": "red"}}, 400, "INVALID_ATTRIBUTE"),
                ({**snapshot, "colour": "red", "delivery": http_delivery}, 400, "INVALID_ATTRIBUTE"),
                ({"snapshotId": "1", "delivery": http_delivery}, 400, "INVALID_ATTRIBUTE"),
                ({"snapshotId": "f" * 24, "delivery": http_delivery}, 404, "SNAPSHOT_NOT_FOUND"),
                ([], 400, "INVALID_JSON"), (None, 400, "INVALID_JSON")):
            reply = self.client.call("POST", f"{self.base}/restoreJobs", body)
            self.assertEqual((reply.status, reply.json["errorCode"]), (status, code), body)
        rows = self.cli.run("restore", "list").out
        self.assertIn("(link: READY)", rows)
        shown = self.cli.run("restore", "show", job["id"]).out
        self.assertRegex(shown, rf"(?m)^  url          {re.escape(job['delivery']['url'])}$")


if __name__ == "__main__":
    harness.main()
