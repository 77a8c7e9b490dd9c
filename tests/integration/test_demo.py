#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The demo as README has it, small: to its end where nobody looks on, and staying up on a terminal until it is told to end."""
import os
import pty
import signal
import subprocess
import unittest

import harness

COMMAND = [harness.binary("HOLDFAST"), "demo", "--size", "4MiB"]
LIMIT_S = 240


class Demo(unittest.TestCase):
    def check(self, said):
        self.assertEqual(said.count("opened by a fresh process: 9 of 9 collections equal"), 3, said)
        self.assertIn("the instant before, from snapshot", said)

    def test_to_its_end(self):
        ran = subprocess.run(COMMAND, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        self.check(ran.stdout + ran.stderr)

    def test_on_a_terminal(self):
        ours, theirs = pty.openpty()
        shown = bytearray()
        with subprocess.Popen(COMMAND, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.STDOUT) as demo:
            os.close(theirs)
            try:
                while b"Ctrl-C" not in shown:
                    shown += os.read(ours, 4096)
                demo.send_signal(signal.SIGINT)
                self.assertEqual(demo.wait(LIMIT_S), 0, shown.decode())
            except OSError:  # the other side is closed: it ended
                self.fail(shown.decode())
            finally:
                demo.kill()
                os.close(ours)
        self.check(shown.decode().replace("\r\n", "\n"))


if __name__ == "__main__":
    harness.main()
