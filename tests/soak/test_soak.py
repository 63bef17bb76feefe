# SPDX-License-Identifier: Apache-2.0
"""Random lives of VMs in many clients' hands, while hearthd, keepers and VMMs are killed.

HEARTH_SOAK_SECONDS: how long, in all (default 120). HEARTH_SOAK_SEED: to do the same again, as far
as threads allow; it is printed.
"""

import collections
import contextlib
import os
import pathlib
import random
import shutil
import signal
import sys
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/integration"))

import grpc  # noqa: E402

from clients import Mind  # noqa: E402
from firecracker_host import FIRECRACKER, JAILER, KERNEL  # noqa: E402
from harness import GUEST, Hearthd, V, memory_kib, wait_until  # noqa: E402
from leaks import Leaks, remove_groups  # noqa: E402
from model import PAUSED, RUNNING  # noqa: E402

SECONDS = float(os.environ.get("HEARTH_SOAK_SECONDS", 120))
SEED = int(os.environ.get("HEARTH_SOAK_SEED", random.randrange(2**32)))
ROUNDS = 4  # in each of which hearthd is looked at while nothing happens
NOTES = 12  # of each VM
# Allowed beyond what hearthd has after its first round: arenas, and what a larger history takes.
GROWTH_KIB = 24 * 1024


class Turns:
    """Many act at once, or one alone."""

    def __init__(self):
        self.changed = threading.Condition()
        self.acting, self.alone = 0, False

    @contextlib.contextmanager
    def shared(self):
        with self.changed:
            self.changed.wait_for(lambda: not self.alone)
            self.acting += 1
        try:
            yield
        finally:
            with self.changed:
                self.acting -= 1
                self.changed.notify_all()

    @contextlib.contextmanager
    def exclusive(self):
        with self.changed:
            self.changed.wait_for(lambda: not self.alone)
            self.alone = True
            self.changed.wait_for(lambda: not self.acting)
        try:
            yield
        finally:
            with self.changed:
                self.alone = False
                self.changed.notify_all()


class Soak(unittest.TestCase):
    flags = ()
    backend = "in_memory"
    has_faults = False  # keepers and VMMs are killed
    clients, vms_each = 8, 3

    def spec(self, chance):
        return V.VmSpec(desired_state=V.DESIRED_STATE_RUNNING,
                        labels={"n": str(chance.randrange(1000))})

    def note(self, vm_id, what):
        self.notes[vm_id].append("%.2f %s" % (time.monotonic() - self.begun, what))

    def soak(self, seconds):
        print("seed %d" % SEED, flush=True)
        self.begun, self.notes = time.monotonic(), collections.defaultdict(
            lambda: collections.deque(maxlen=NOTES))
        self.ending, self.turns = threading.Event(), Turns()
        self.group = "hearth-soak-%d-%s" % (os.getpid(), self.backend)
        self.addCleanup(remove_groups, self.group)
        self.daemon = Hearthd(*self.flags, "--jailer-cgroup", self.group, "--history", "1024",
                              "--capacity-cpu-percent", "0", backend=self.backend)
        self.addCleanup(self.daemon.close)
        self.daemon.start()
        leaks = Leaks(self.daemon, self.group)
        self.minds = [Mind(self, n, ["vm-%d-%d" % (n, i) for i in range(self.vms_each)], SEED + n)
                      for n in range(self.clients)]
        for mind in self.minds:
            mind.start()
        sizes = [self.round(seconds / ROUNDS, random.Random(SEED + n)) for n in range(ROUNDS)]
        self.ending.set()
        for mind in self.minds:
            mind.join(120)
            self.assertFalse(mind.is_alive(), "%s: a call never ends" % mind.name)
        self.check_minds()
        for mind in self.minds:
            mind.end()
        leaks.check(20)
        print("%s: %d calls of %d clients, %d unanswered, %s; resident after each round: %s KiB" % (
            self.backend, sum(mind.calls for mind in self.minds), self.clients,
            sum(mind.unanswered for mind in self.minds),
            ", ".join("%d times %s" % (n, what) for what, n in self.faults.items()),
            ", ".join(map(str, sizes))), flush=True)
        self.assertLess(max(sizes[1:]), sizes[0] + GROWTH_KIB)

    def check_minds(self):
        for mind in self.minds:
            if mind.violation:
                vm_id = str(mind.violation).split(":", 1)[0]
                self.fail("seed %d: %s: %s\n%s\nhearthd said:\n%s" % (
                    SEED, mind.name, mind.violation,
                    "\n".join(self.notes[vm_id]), self.story(vm_id)))

    def story(self, vm_id):
        """What hearthd has to tell of it: calls and deaths, then its events."""
        lines = [line for line in self.daemon.log_path.read_text(errors="replace").splitlines()
                 if "vm_id=%s " % vm_id in line or "event=started" in line]
        events = self.daemon.vms.ListVmEvents(
            V.ListVmEventsRequest(vm_id=vm_id, page_size=500), timeout=20).events
        return "\n".join((*lines[-2 * NOTES:], *("%d %s %s %s %s" % (
            event.revision, event.time.ToJsonString(), event.uid[:8], event.reason, event.message)
            for event in list(events)[-3 * NOTES:])))

    def round(self, seconds, chance):
        """Something goes wrong now and then; at the end all stand still and are counted."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.ending.is_set():
            time.sleep(chance.uniform(0.1, 1.5))
            self.do_harm(chance)
        with self.turns.exclusive():
            self.check_minds()
            return memory_kib(self.daemon.pid)

    def do_harm(self, chance):
        if self.has_faults and chance.random() < 0.7:
            self.kill_process(chance)
        else:
            self.faults["hearthd killed"] += 1
            self.daemon.restart()

    def kill_process(self, chance):
        """Of some VM, while nobody does anything to it; until it has been noticed."""
        mind = chance.choice(self.minds)
        vm_id = chance.choice(list(mind.vms))
        with self.turns.exclusive():
            status = self.status(vm_id)
            what = chance.choice(("keeper", "vmm"))
            pid = getattr(status.resolved, what + "_pid") if status else 0
            if not pid or status.state not in (RUNNING, PAUSED):
                return
            mind.lost_vmm(vm_id)
            self.note(vm_id, "%s killed" % what)
            self.faults["%s killed" % what] += 1
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda: self.status(vm_id).state not in (RUNNING, PAUSED),
                       "%s: its end is noticed" % vm_id)

    def status(self, vm_id):
        try:
            return self.daemon.vms.GetVm(V.GetVmRequest(vm_id=vm_id), timeout=20).status
        except grpc.RpcError:
            return None

    def setUp(self):
        self.faults = collections.Counter()


class InMemory(Soak):
    flags = ("--qemu-binary", "/none", "--firecracker-binary", "/none")

    def test_vms_in_memory_are_what_their_clients_expect(self):
        self.soak(SECONDS / 3)


@unittest.skipUnless(FIRECRACKER and JAILER, "no firecracker and jailer on PATH")
class Jailed(Soak):
    backend = "firecracker"
    flags = ("--qemu-binary", "/none", "--firecracker-binary", FIRECRACKER or "",
             "--jailer-binary", JAILER or "")
    has_faults = True

    def spec(self, chance):
        spec = super().spec(chance)
        spec.machine.memory_mib = 16
        spec.boot.kernel_path, spec.boot.boot_args = str(KERNEL), "exit=loop"
        return spec

    def test_vms_on_firecracker_are_what_their_clients_expect(self):
        self.soak(SECONDS / 3)


@unittest.skipUnless(shutil.which("qemu-system-x86_64"), "there is no qemu-system-x86_64")
class Emulated(Soak):
    """Few, as each takes seconds of a CPU to boot."""

    backend = "qemu"
    flags = ("--firecracker-binary", "/none", "--qemu-accelerator", "tcg")
    has_faults = True
    clients, vms_each = 4, 2

    def spec(self, chance):
        spec = super().spec(chance)
        spec.machine.memory_mib = 128
        spec.boot.kernel_path, spec.boot.initrd_path = str(GUEST / "vmlinuz"), str(GUEST / "initrd")
        spec.boot.boot_args = "console=ttyS0 quiet"
        return spec

    def test_vms_on_qemu_are_what_their_clients_expect(self):
        self.soak(SECONDS / 3)
