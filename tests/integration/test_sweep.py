# SPDX-License-Identifier: Apache-2.0
"""What belongs to no VM goes when hearthd starts; what only looks like it stays.

Run directories and jails are made by hand here, as an agent that died would have left them. Taps,
chains and entries of the filter have tests of their own with the network (tests/e2e), and all that
an agent leaves that dies in the midst of something is looked for in tests/crash.
"""

import json
import os
import pathlib
import subprocess
import time
import unittest

from harness import Hearthd, N, process_alive, wait_until
from leaks import groups, remove_groups

OURS = "0123456789abcdef"
FOREIGN = ("0123456789abcdeF", "0123456789abcde", "0123456789abcdef0", "backup", "probe",
           "0123456789abcdef.old")


class SweepTest(unittest.TestCase):
    def setUp(self):
        self.group = "hearth-test-%d-sweep" % os.getpid()
        self.addCleanup(remove_groups, self.group)
        self.daemon = Hearthd("--jailer-cgroup", self.group)
        self.addCleanup(self.daemon.close)
        self.daemon.start()

    def make(self, *parts):
        """A directory with a file in it, below the state directory."""
        folder = self.daemon.state.joinpath(*parts)
        folder.mkdir(parents=True)
        (folder / "file").write_text("of nobody")
        return folder

    def sleeper(self):
        process = subprocess.Popen(["sleep", "600"], start_new_session=True)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    @staticmethod
    def start_time(pid):
        return int(pathlib.Path("/proc/%d/stat" % pid).read_text().rsplit(")", 1)[1].split()[19])

    def write_keeper(self, folder, keeper, vmm, early=0):
        """As runtime/keeper writes it; an early start is that of another process with that pid."""
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        (folder / "keeper.json").write_text(json.dumps({
            "version": 1, "boot_id": boot,
            **{name: {"pid": pid, "start_time": self.start_time(pid) - early}
               for name, pid in (("keeper", keeper), ("vmm", vmm))}}))

    def swept(self):
        status = self.daemon.node.GetNode(N.GetNodeRequest(), timeout=20).status
        return status.leftovers_removed

    def test_what_belongs_to_no_vm_goes_is_counted_and_logged(self):
        left = [self.make("vms", OURS), self.make("jail", "firecracker", OURS)]
        other = self.make("jail", "another-program", OURS.replace("0", "1"))

        self.daemon.restart()

        wait_until(lambda: self.swept() == 2, "two are removed")
        self.assertEqual([False] * 3, [path.exists() for path in (*left, other)])
        self.assertEqual(1, self.daemon.log().count("event=swept instance=" + OURS))

    def test_what_only_looks_like_ours_stays(self):
        foreign = [self.make(*top, name) for name in FOREIGN
                   for top in (("vms",), ("jail", "firecracker"))]
        (self.daemon.state / "vms" / OURS).write_text("no directory")
        for group in groups(self.group):
            (group / "foreign").mkdir()
            self.addCleanup((group / "foreign").rmdir)
        ours = self.make("vms", OURS.replace("0", "1"))

        self.daemon.restart()

        wait_until(lambda: self.swept() == 1, "ours is removed")
        self.assertFalse(ours.exists())
        self.assertEqual([True] * len(foreign), [(path / "file").exists() for path in foreign])
        self.assertTrue((self.daemon.state / "vms" / OURS).exists())
        self.assertTrue(all((group / "foreign").is_dir() for group in groups(self.group)))

    def test_a_process_is_ended_only_if_it_is_the_one_that_is_meant(self):
        ours, reused = self.sleeper(), self.sleeper()
        self.write_keeper(self.make("vms", OURS), ours.pid, ours.pid)
        self.write_keeper(self.make("vms", OURS.replace("0", "1")), reused.pid, reused.pid, early=7)

        self.daemon.restart()

        wait_until(lambda: self.swept() == 2, "both are removed")
        self.assertEqual(-9, ours.wait(20))
        self.assertTrue(process_alive(reused.pid))

    def test_what_cannot_be_removed_is_told_of_and_the_rest_goes(self):
        stuck, other = self.make("vms", OURS), self.make("vms", OURS.replace("0", "1"))
        (stuck / "busy").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "none", stuck / "busy"], check=True)
        self.addCleanup(subprocess.run, ["umount", stuck / "busy"])

        self.daemon.restart()

        wait_until(lambda: self.swept() == 1, "the other is removed")
        wait_until(lambda: "event=\"sweep failed\" instance=" + OURS in self.daemon.log(),
                   "the failure is logged")
        self.assertEqual((True, False), (stuck.exists(), other.exists()))

    def test_what_is_young_is_let_alone_while_the_agent_runs(self):
        """It may be somebody's who is about to say so: only an agent that starts knows better."""
        young = self.make("vms", OURS)

        time.sleep(1)

        self.assertTrue(young.exists())
        self.daemon.restart()
        wait_until(lambda: not young.exists(), "it is removed")
