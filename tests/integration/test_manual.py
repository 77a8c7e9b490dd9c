#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""docs/user/options.md is what the program prints, and the commands that it lists are there."""
import os
import pathlib
import re
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def holdfast(*words):
    return subprocess.run([os.environ["HOLDFAST"], *words], capture_output=True, text=True, timeout=60, check=False)


class Manual(unittest.TestCase):
    maxDiff = None

    def test_the_page_of_options_is_what_the_program_prints(self):
        page = (ROOT / "docs/user/options.md").read_text()
        printed = holdfast("manual")
        self.assertEqual((printed.returncode, printed.stderr), (0, ""))
        self.assertEqual(page[page.index("## holdfast "):].strip(), printed.stdout.strip(),
                         "paste what 'holdfast manual' prints into docs/user/options.md")

    def test_every_command_of_help_stands_in_the_manual(self):
        listed = re.findall(r"^  (\w+(?: [\w-]+)?)  +\S", holdfast("help").stdout, re.M)
        sections = re.findall(r"^## holdfast (.+)$", holdfast("manual").stdout, re.M)
        self.assertGreater(len(listed), 10)
        self.assertEqual(sorted(set(listed) - {"sandbox"}), sorted(sections))

    def test_a_word_after_manual_is_refused(self):
        refused = holdfast("manual", "server")
        self.assertEqual(refused.returncode, 2)
        self.assertIn("there is no command 'manual'", refused.stderr)


if __name__ == "__main__":
    unittest.main()
