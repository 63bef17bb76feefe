# SPDX-License-Identifier: Apache-2.0
"""QEMU within a control group: its limits, and its end when memory runs out."""

import os
import unittest

from harness import V, process_alive
from leaks import CGROUPS, groups, remove_groups
from test_guest import GuestTest
from test_launcher import groups_of, limit_of, use_up_memory

LIMITS = V.Limits(cpu_millis=800, memory_mib=400, pids=40)


class Limits(GuestTest):
    @classmethod
    def setUpClass(cls):
        if not any((top / "cgroup.procs").exists() for top in (CGROUPS, CGROUPS / "pids")):
            raise unittest.SkipTest("there are no control groups here")
        group = "hearth-test-%d-limits" % os.getpid()
        cls.addClassCleanup(remove_groups, group)
        cls.flags = ("--launcher", "cgroup", "--jailer-cgroup", group)
        super().setUpClass()

    def test_the_guest_runs_within_its_limits_and_leaves_no_group(self):
        vm = self.boot("hearth.tick", limits=LIMITS)
        resolved = vm.status.resolved
        self.follow_to(vm.vm_id, "tick 1\r\n")

        self.assertEqual(LIMITS, resolved.limits)
        self.assertIn("/" + resolved.cgroup, groups_of(resolved.vmm_pid))
        self.assertNotIn("/" + resolved.cgroup, groups_of(resolved.keeper_pid))
        self.assertEqual("40", limit_of(resolved, "pids.max"))
        self.destroy(vm.vm_id)
        self.assertEqual([], groups(resolved.cgroup))

    def test_a_vmm_that_is_ended_for_lack_of_memory_says_so(self):
        vm = self.boot(limits=LIMITS)
        other = self.boot("hearth.tick")
        self.follow_to(vm.vm_id, "guest# ")

        use_up_memory(self, vm.status.resolved)

        failed = self.wait_state(vm.vm_id, V.VM_STATE_FAILED)
        self.assertEqual((V.EXIT_REASON_VMM_OOM, 9),
                         (failed.status.last_exit.reason, failed.status.last_exit.signal))
        self.assertTrue(process_alive(other.status.resolved.vmm_pid))
        self.wait_tick_after(other.vm_id, 0)
