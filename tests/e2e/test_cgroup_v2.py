# SPDX-License-Identifier: Apache-2.0
"""Limits on control groups of version 2, by a kernel that has them there: a guest's.

Debian's kernel boots with nothing but version 2 mounted. It runs tests/linux_guest/cgroup_v2.c, which says
on its console what the runtime's own functions find, and the suite tests/unit/test_cgroup.c. The
jailer is in no package: JAILER_BIN names it, or it is on PATH, or what needs it is skipped. So it is
with Firecracker and FIRECRACKER_BIN; it only says its version, as a guest has no /dev/kvm.
"""

import os
import re
import shutil

from harness import PROGRAMS, ROOT, V
from initrd import libraries, make_initrd
from test_guest import EndingGuestTest

INIT = "cgroup_v2_init"
SUITE = "test_cgroup"
MEMORY_MIB = 512
FIRECRACKER = os.environ.get("FIRECRACKER_BIN") or shutil.which("firecracker")
JAILER = os.environ.get("JAILER_BIN") or shutil.which("jailer")
LIMITS = {"cpu.max": "50000 100000", "memory.max": "67108864", "pids.max": "33",
          "memory.swap.max": "0"}


def guest_programs():
    """What there is to run, by its name in the guest."""
    found = {name: PROGRAMS / name for name in (SUITE, "cgroup_v2", "firecracker-stand-in")}
    found.update(jailer=JAILER, firecracker=FIRECRACKER, own_cgroup=shutil.which("unshare"))
    found["hearth-keeper"] = PROGRAMS / "hearth-keeper"
    return {name: path for name, path in found.items() if path and os.path.exists(path)}


def guest_files(programs):
    files = {"/bin/" + name: path for name, path in programs.items()}
    files["/" + INIT] = ROOT / "tests/linux_guest" / INIT
    return files


class CgroupV2(EndingGuestTest):
    """What one guest has said."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.programs = guest_programs()
        initrd = cls.daemon.folder / "initrd"
        make_initrd(initrd, guest_files(cls.programs))
        cls.said, cls.ended = cls().run_to_end(initrd, "/" + INIT, MEMORY_MIB)

    def needs(self, name, why):
        if name not in self.programs:
            self.skipTest(why)

    def needs_jailer(self):
        self.needs("jailer", "there is no jailer: JAILER_BIN, or on PATH")

    def assert_said(self, line):
        self.assertIn("cgroup-v2: " + line + "\n", self.said)

    def test_the_suite_that_runs_on_the_host_passes_there_too(self):
        self.needs(SUITE, "this build has no Criterion suites")

        self.assertRegex(self.said, r"Passing: [1-9]\d* \| Failing: 0 \| Crashing: 0")
        self.assertIn("skipped: version 2 has but one hierarchy\n", self.said)
        self.assertIn("groups that are left: .\n", self.said)

    def test_the_guest_goes_through_all_of_it_and_powers_off(self):
        self.assert_said("end")
        self.assertEqual(V.VM_STATE_STOPPED, self.ended.status.state, self.said)

    def test_version_2_is_found_with_its_limit_of_swap(self):
        self.assert_said("version 2 at /sys/fs/cgroup, with a limit of swap")

    def test_the_kernel_takes_every_word_and_gives_it_back(self):
        for file, value in LIMITS.items():
            self.assert_said("own: %s=%s: done" % (file, value))
        self.assert_said("own: a member: verified")

    def test_what_does_not_hold_is_named(self):
        self.assertRegex(self.said, r"own: a process of another group: the VMM, pid \d+, is not in "
                                    r"/sys/fs/cgroup/hearth-own/vm\n")
        self.assert_said("own: with swap: /sys/fs/cgroup/hearth-own/vm/memory.swap.max is 'max', "
                         "not '0'")

    def test_the_end_of_a_group_kills_what_ignores_sigterm_and_nothing_else(self):
        self.assert_said("own: end of hearth-own/vm: done, gone")
        self.assert_said("own: its processes ended with 9 and 9")
        self.assert_said("own: the other's is alive")
        self.assertEqual(2, self.said.count("own: end of hearth-own/vm: done, gone"))

    def test_a_group_that_holds_another_is_not_removed(self):
        self.assert_said("own: end of hearth-own/other: ETIMEDOUT, there")
        self.assert_said("own: end of hearth-own/other/below: done, gone")
        self.assert_said("own: end of hearth-own/other: done, gone")

    def test_a_keeper_leaves_a_pods_namespace_of_groups(self):
        self.assertRegex(self.said, "pod: alone: .*No such file or directory\n")
        self.assertIn("pod: keeper: 0::/hearth-keepers\n", self.said)

    def test_limits_the_jailer_was_told_hold_for_its_vmm(self):
        self.needs_jailer()

        self.assert_said("jail: the jailer ended with 0")
        self.assert_said("jail: its VMM: verified")
        self.assert_said("jail: with another limit: /sys/fs/cgroup/hearth/0123456789abcdef/pids.max "
                         "is '33', not '34'")

    def test_a_vmm_that_wants_more_does_not_get_it(self):
        self.needs_jailer()

        # With the VMM itself 33 processes.
        self.assert_said("jail: the VMM says: memory ended by 9, 32 children")
        usage = re.search(r"jail: usage: pids (\d+) memory (\d+) peak (\d+) cpu (\d+) throttled (\d+)",
                          self.said)
        pids, memory, peak, cpu, throttled = map(int, usage.groups())
        self.assertEqual(33, pids)
        limit = int(LIMITS["memory.max"])
        self.assertTrue(0 < memory <= peak, usage[0])
        self.assertTrue(0.9 * limit < peak <= limit, usage[0])
        self.assertGreater(cpu, 0)
        self.assertGreater(throttled, 0)

    def test_removing_a_jail_leaves_nothing_but_the_parent(self):
        self.needs_jailer()

        self.assert_said("jail: removal: done")
        self.assert_said("jail: its group is gone, its directory gone, the parent there")

    def test_the_probe_of_the_jail_works(self):
        self.needs_jailer()
        self.needs("firecracker", "there is no Firecracker: FIRECRACKER_BIN, or on PATH")
        if libraries(FIRECRACKER):
            self.skipTest("%s needs libraries, which a jail has not" % FIRECRACKER)

        self.assert_said("probe: works")
