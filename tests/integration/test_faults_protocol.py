# SPDX-License-Identifier: Apache-2.0
"""VMMs that answer nonsense, never, or without end: a bounded, precise error, and nothing is left.

A stand-in (tests/support/vmm_stand_in.py) is the QEMU or Firecracker of a real hearthd. All that can
go wrong goes wrong at the same time, in as many VMs, while others do as they should.
"""

import concurrent.futures
import os
import sys
import tempfile
import unittest

from google.protobuf import duration_pb2

from harness import ROOT, Code, DaemonTest, N, V, memory_kib, process_alive, wait_until
from leaks import Leaks, remove_groups

LONG = 120  # above all time-outs: 30 s to listen, 60 s to boot, 10 s for the rest, twice with an undo
MEMORY_KIB = 64 * 1024
UNTOLD = {"stall", "half", "dribble"}


class StandIn:
    """@kind is the backend; @stand_in what is its VMM."""

    kind = None

    @classmethod
    def setUpClass(cls):
        cls.backend = cls.kind
        cls.cgroup = "hearth-test-%d-stand-in-%s" % (os.getpid(), cls.kind)
        cls.addClassCleanup(remove_groups, cls.cgroup)
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        program = os.path.join(folder, cls.kind)
        with open(program, "w") as script:
            script.write('#!/bin/sh\nexec %s -B %s %s "$@"\n'
                         % (sys.executable, ROOT / "tests/support/vmm_stand_in.py", cls.kind))
        os.chmod(program, 0o755)
        cls.flags = ("--%s-binary" % cls.kind, program, "--jailer-mode", "off",
                     "--jailer-cgroup", cls.cgroup, "--capacity-cpu-percent", "0")
        super().setUpClass()
        cls.leaks = Leaks(cls.daemon, cls.cgroup)
        wait_until(cls.is_available, "the stand-in passes the probe")
        cls.memory = memory_kib(cls.daemon.pid)

    @classmethod
    def is_available(cls):
        node = cls.daemon.node.GetNode(N.GetNodeRequest(), timeout=20)
        return any(info.available and V.Backend.Name(info.backend).endswith(cls.kind.upper())
                   for info in node.status.backends)

    @classmethod
    def tearDownClass(cls):
        cls.daemon.destroy_all()
        cls.leaks.check()
        super().tearDownClass()

    def request(self, fault="", desired=V.DESIRED_STATE_RUNNING):
        return V.CreateVmRequest(vm_id=self.new_id(), spec=V.VmSpec(
            machine=V.Machine(memory_mib=16), desired_state=desired,
            boot=V.Boot(kernel_path=__file__, boot_args="fault=%s" % fault if fault else "none")))

    def boot(self, fault=""):
        request = self.request(fault)
        self.addCleanup(self.destroy, request.vm_id)
        return self.vms.CreateVm(request, timeout=LONG)

    def destroy(self, vm_id):
        self.vms.DestroyVm(V.DestroyVmRequest(vm_id=vm_id, allow_missing=True), timeout=60)

    def live(self):
        """A VM that does as it should, from its start to its end."""
        vm = self.boot()
        self.vms.PauseVm(V.PauseVmRequest(vm_id=vm.vm_id), timeout=30)
        self.vms.ResumeVm(V.ResumeVmRequest(vm_id=vm.vm_id), timeout=30)
        self.vms.StopVm(V.StopVmRequest(vm_id=vm.vm_id, force=True), timeout=30)
        self.destroy(vm.vm_id)

    def all_at_once(self, work, faults):
        with concurrent.futures.ThreadPoolExecutor(len(faults)) as pool:
            working = {fault: pool.submit(work, fault) for fault in faults}
            lives = 0
            while not all(each.done() for each in working.values()):
                self.live()
                lives += 1
        self.assertGreater(lives, 0)
        self.assertLess(memory_kib(self.daemon.pid) - self.memory, MEMORY_KIB)
        for fault, each in working.items():
            with self.subTest(fault):
                each.result()

    def check_failure(self, fault, failure):
        kind = fault.split(":")[0]
        self.assertEqual("VMM_FAILED", failure.reason, failure)
        self.assertEqual("TIMEOUT" if kind in UNTOLD else "HOST", failure.metadata["cause"], failure)
        self.assertIn(self.WORDS.get(fault, self.WORDS[kind]), failure.message)
        self.assertLess(len(failure.message), 768)

    def fail_to_start(self, fault):
        kind = fault.split(":")[0]
        code = Code.DEADLINE_EXCEEDED if kind in UNTOLD else Code.INTERNAL
        request = self.request(fault)
        failure = self.refused(self.vms.CreateVm, request, code, timeout=LONG)
        self.check_failure(fault, failure)
        vm = self.get(request.vm_id)
        self.assertEqual(V.VM_STATE_FAILED, vm.status.state)
        self.assertEqual((0, 0), (vm.status.resolved.vmm_pid, vm.status.resolved.keeper_pid))
        self.destroy(request.vm_id)

    def fail_to_pause(self, fault):
        """Undone where the VMM behaves again; else it is poisoned. One that ended has failed."""
        kind = fault.split(":")[0]
        code = Code.DEADLINE_EXCEEDED if kind in UNTOLD else Code.INTERNAL
        vm = self.boot(fault)
        failure = self.refused(self.vms.PauseVm, V.PauseVmRequest(vm_id=vm.vm_id), code,
                               timeout=LONG)
        self.check_failure(fault, failure)
        if kind == "exit":
            self.wait_state(vm.vm_id, V.VM_STATE_FAILED)
        else:
            state = self.get(vm.vm_id).status.state
            undone = not fault.endswith(":ever")
            self.assertEqual(V.VM_STATE_RUNNING if undone else V.VM_STATE_POISONED, state)
        self.destroy(vm.vm_id)
        self.assertFalse(process_alive(vm.status.resolved.vmm_pid))

    def test_one_deaf_to_sigterm_is_killed(self):
        vm = self.boot()

        stopped = self.vms.StopVm(V.StopVmRequest(
            vm_id=vm.vm_id, power_button_timeout=duration_pb2.Duration(),
            terminate_timeout=duration_pb2.Duration(nanos=300000000)), timeout=60)

        rungs = [V.RungOutcome.Name(rung.outcome).removeprefix("RUNG_OUTCOME_")
                 for rung in stopped.status.last_exit.rungs]
        self.assertEqual(["SKIPPED", "TIMED_OUT", "ENDED"], rungs)


class QemuTest(StandIn, DaemonTest):
    kind = "qemu"
    WORDS = {"stall": "no answer in time", "half": "no answer in time",
             "dribble": "no answer in time", "endless": "more than 1048576 bytes in one line",
             "garbage": "answered nonsense", "deep": "answered nonsense",
             "wrong-id": "answered another command", "close": "connection closed",
             "flood": "events and no answer", "exit": "qemu", "stall:listen": "nobody listens on"}
    KINDS = [kind for kind in WORDS if ":" not in kind]

    def test_a_start_says_what_is_wrong(self):
        places = ("greeting", "qmp_capabilities", "query-status", "cont")
        faults = ["%s:%s" % (kind, place) for kind in self.KINDS for place in places
                  if not (place == "greeting" and kind in ("wrong-id", "flood", "deep"))]

        self.all_at_once(self.fail_to_start, [*faults, "stall:listen"])

    def test_a_pause_says_what_is_wrong(self):
        faults = ["%s:stop%s" % (kind, times) for kind in self.KINDS for times in ("", ":ever")
                  if not (kind == "wrong-id" and times)]

        self.all_at_once(self.fail_to_pause, faults)


class FirecrackerTest(StandIn, DaemonTest):
    kind = "firecracker"
    SILENT = "firecracker did not answer in time"
    # Of a connection that breaks it is libcurl that says how.
    WORDS = {"stall": SILENT, "half": SILENT, "dribble": SILENT, "endless": "more than 65536 bytes",
             "refuse": "400: no, no", "garbage": "", "close": "", "exit": "", "headers": ""}

    def test_a_start_says_what_is_wrong(self):
        faults = ["%s:%s" % (kind, place) for kind in self.WORDS
                  for place in ("/serial", "InstanceStart")]

        self.all_at_once(self.fail_to_start, faults)

    def test_a_pause_says_what_is_wrong(self):
        faults = ["%s:Paused%s" % (kind, times) for kind in self.WORDS for times in ("", ":ever")]

        self.all_at_once(self.fail_to_pause, faults)


if __name__ == "__main__":
    unittest.main()
