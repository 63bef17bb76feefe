# SPDX-License-Identifier: Apache-2.0
"""hearthd dies at every point where it has just changed the host or the store.

Each life (lives.py) is led once to learn which points each of its steps passes, and then once for
each of them: hearthd is killed there, often once more while it recovers, and is started again.
Then store and host have to agree, the VM has to be where its client could expect it, the step,
repeated, has to succeed, and after the VM's end nothing may be left of it.
"""

import collections
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import grpc

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/integration"))

from harness import PROGRAMS, Hearthd, N, V, process_alive, wait_until  # noqa: E402
from kinds import Host  # noqa: E402
from leaks import remove_groups  # noqa: E402
from lives import GROUP, SECONDS, VM, Step, lives  # noqa: E402

CALLS = (ROOT / "tests/crash/calls").read_text().split()
QUIET_SECONDS = 0.2
TRIES = 3
# Of so many points one is tried, which one by chance; 1: all are.
SHARE = int(os.environ.get("HEARTH_CRASH_SHARE", 1))
RECOVERY_POINTS = 60  # the second death is at one of so many points of the recovery
HAS_VMM = V.VM_STATE_RUNNING, V.VM_STATE_PAUSED
AT_REST = (V.VM_STATE_CREATED, V.VM_STATE_RUNNING, V.VM_STATE_PAUSED, V.VM_STATE_STOPPED,
           V.VM_STATE_FAILED, V.VM_STATE_POISONED)
# What changes a host, by the manuals; a program of ours that calls one passes a crash point there.
CHANGING = re.compile(r"""
    (f|l)?ch(own|mod)(at)?|(f|l)?setxattr|(f?truncate|(posix_)?fallocate)(64)?
    |(mk(dir|fifo|nod)|(sym)?link|unlink|rename)(at)?(2)?|rmdir|remove|mkd?temp|creat(64)?|open(at)?(64)?
    |p?writev?(64)?|copy_file_range|send(to|msg|file)?|ioctl|mount(_setattr)?|umount2?|move_mount|fsmount|pivot_root
    |chroot|setns|unshare|kill|tgkill|killpg|pidfd_send_signal|prctl|(v?fork|clone)|posix_spawnp?|waitid
    |execv[pe]*|bpf_\w*(update|delete|pin|attach|link)\w*|mnl_socket_sendto|sqlite3_(step|exec)
    |curl_(easy_perform|multi_info_read)""", re.VERBOSE)
# Of these, calls that need no point of their own, and why.
EXEMPT = {
    "openat": "with O_PATH, or to read",
    "sendto": "answers of the guests' resolver",
    "mount_setattr": "of a mount that is nowhere yet",
    "execvp": "the VMM, in the keeper's child",
}


class CrashHearthd(Hearthd):
    """One with crash points."""

    def __init__(self, *flags, backend):
        super().__init__(*flags, backend=backend)
        self.points = self.folder / "points"
        self.points.mkdir()
        self.prefix = ["env", "HEARTH_CRASH_DIR=%s" % self.points]

    def command(self, *flags):
        return [word.replace(str(PROGRAMS / "hearthd"), str(PROGRAMS / "crash/hearthd"))
                for word in super().command(*flags)]

    def start(self, wait=True):
        # A connection that nobody uses any more is still tried again, time after time.
        while self.clients:
            self.clients.pop().close()
        return super().start(wait)

    def passed(self):
        """The points passed since forget(), in order."""
        log = self.points / "log"
        return log.read_text().splitlines() if log.exists() else []

    def forget(self):
        for name in "at", "log":
            (self.points / name).unlink(missing_ok=True)

    def die_at(self, point, count):
        self.forget()
        (self.points / "at").write_text("%d %s\n" % (count, point))

    def died(self, seconds):
        """Of its own hand, within that time?"""
        try:
            return self.process.wait(seconds) == -signal.SIGKILL
        except subprocess.TimeoutExpired:
            return False

    def settle(self):
        """Until it has looked at the host, as each new one does, and does nothing any more."""
        wait_until(self.has_looked, "hearthd has looked at its host", SECONDS)
        seen = None
        while seen != (seen := len(self.passed())):
            time.sleep(QUIET_SECONDS)

    def has_looked(self):
        node = self.node.GetNode(N.GetNodeRequest(), timeout=SECONDS)
        return all(backend.message != "not yet looked at" for backend in node.status.backends)


class CrashTest(unittest.TestCase):
    """A test a life, made below."""

    def lead(self, life):
        if life.skip:
            self.skipTest(life.skip)
        self.daemon = CrashHearthd(*life.flags, backend=life.backend)
        self.addCleanup(self.daemon.close)
        self.addCleanup(remove_groups, GROUP)
        self.daemon.start()
        self.daemon.settle()
        self.host = Host(self.daemon, GROUP)
        self.through(life.steps)  # what a node makes for its first VM stays
        self.host.keep()

        every = self.learn(life.steps)
        plans = every[random.randrange(SHARE)::SHARE]
        kinds = {point.split()[0] for _, point, _ in every}
        self.assertFalse(kinds - self.host.CHECKS.keys(), "kinds without a check")
        # The store's thread may write two records at once that it wrote one by one before.
        missed = [plan for number, plan in enumerate(plans)
                  if not any(self.crash(life, number, *plan) for _ in range(TRIES))]
        print("%s: %d of %d crash points of %d steps, %d not met again; kinds: %s" % (
            life.name, len(plans), len(every), len(life.steps), len(missed),
            " ".join(sorted(kinds))), flush=True)
        self.assertLessEqual(len(missed), max(1, len(plans) // 10), missed)

    def through(self, steps):
        for step in steps:
            step.call(self.daemon)

    def learn(self, steps):
        """(step, point, which time) for each point passed, of the start of an agent as well."""
        plans = []
        for number, step in enumerate(steps):
            self.daemon.forget()
            step.call(self.daemon)
            counts = collections.Counter()
            for point in self.daemon.passed():
                counts[point] += 1
                plans.append((number, point, counts[point]))
        return plans

    def start(self):
        self.daemon.start()
        self.daemon.settle()

    def crash(self, life, number, at, point, count):
        """False if the point was not met."""
        step = life.steps[at]
        self.through([before for before in life.steps if before.name in step.after])
        self.daemon.die_at(point, count)
        with self.subTest(step=step.name, point=point, count=count):
            seconds = 1  # for what it does after its answer
            try:
                step.call(self.daemon)
            except (grpc.RpcError, AssertionError):
                seconds = 20
            met = self.daemon.died(seconds)
            self.daemon.forget()
            if met or self.daemon.died(0):
                self.recover(number)
                self.check(step)
            step.call(self.daemon)
            self.assertEqual(step.done, self.state())
            self.check(Step(step.name, step.call, step.done, step.done))
            life.steps[-1].call(self.daemon)
            self.host.check()
            return met
        self.begin_anew(life)
        return True

    def recover(self, number):
        """A new agent; every other one dies once while it recovers, a step later each time."""
        if number % 2:
            self.start()
            return
        self.daemon.die_at("*", number // 2 % RECOVERY_POINTS + 1)
        try:
            self.daemon.start()
        except (AssertionError, grpc.RpcError):
            pass
        if self.daemon.process.poll() is None:
            self.daemon.kill()
        self.daemon.forget()
        self.start()

    def state(self):
        """The VM's, at rest; None: there is none."""
        try:
            return self.daemon.vms.WaitVm(V.WaitVmRequest(vm_id=VM, states=AT_REST),
                                          timeout=SECONDS).status.state
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.NOT_FOUND:
                raise
            return None

    def check(self, step):
        """Is the VM where its client could expect it, and does the host agree with the store?"""
        state = self.state()
        self.assertIn(state, (step.before, step.done))
        if not state:
            self.host.check()
            return
        vm = self.daemon.vms.GetVm(V.GetVmRequest(vm_id=VM), timeout=SECONDS)
        there = state in HAS_VMM
        resolved = vm.status.resolved
        self.assertEqual(state not in (V.VM_STATE_CREATED,), bool(vm.status.last_operation.verb))
        if self.daemon.flags[1] == "in_memory":
            return
        self.assertEqual(there, bool(resolved.vmm_pid) and process_alive(resolved.vmm_pid))
        for kind in "process", "link", "control-group":
            self.assertEqual(there, self.host.of_vms(kind) > 0, kind)

    def begin_anew(self, life):
        """After a failure: the next point is to be met on a host that is as it should be."""
        if self.daemon.process.poll() is not None:
            self.start()
        life.steps[-1].call(self.daemon)


class CompletenessTest(unittest.TestCase):
    def test_every_call_that_changes_the_host_is_a_crash_point(self):
        archives = [PROGRAMS.parent / ("lib%s.a" % name) for name in
                    ("base", "netfw", "runtime", "runtime_images", "runtime_snapshots")]
        keeper = PROGRAMS.parent / "CMakeFiles/crash_keeper.dir/runtime/keeper"

        called = set()
        for path in *archives, *sorted(keeper.glob("*.o")):
            symbols = subprocess.run(["nm", "-u", path], check=True, capture_output=True, text=True)
            called |= set(re.findall(r" U (\w+)$", symbols.stdout, re.MULTILINE))
        changing = {name for name in called if CHANGING.fullmatch(name)}

        self.assertIn("rename", changing)
        self.assertEqual(set(), changing - set(CALLS) - EXEMPT.keys())


def make_tests():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="hearth-crash."))
    unittest.addModuleCleanup(shutil.rmtree, folder)
    for life in lives(folder):
        def test(self, life=life):
            self.lead(life)
        setattr(CrashTest, "test_a_life_%s_survives_a_death_at_every_point" % life.name, test)


make_tests()
