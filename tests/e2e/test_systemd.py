# SPDX-License-Identifier: Apache-2.0
"""The launchers where process 1 is systemd: a guest's.

Debian's kernel boots with systemd and little else. It runs tests/linux_guest/systemd/launchers, which starts
keepers in services that end as a hearthd's would, looks what is left, and says so on its console.
Jailer and Firecracker are in no package: where there are none (JAILER_BIN, FIRECRACKER_BIN, PATH) the
jail is not tried.
"""

import json
import re
import shutil

from harness import PROGRAMS, ROOT, V
from initrd import libraries, make_initrd
from test_cgroup_v2 import FIRECRACKER, JAILER
from test_guest import EndingGuestTest

MEMORY_MIB = 768
SYSTEMD = "/lib/systemd/systemd"
SOURCES = ROOT / "tests/linux_guest/systemd"
UNITS = ("default.target", "launchers.service")
TARGETS = ("basic", "shutdown", "sysinit")
OWN = ("hearth-keeper", "hearthctl", "hearthd", "launch")


def guest_files():
    units = "/etc/systemd/system/"
    files = {"/bin/" + name: PROGRAMS / name for name in OWN}
    files.update((units + name, SOURCES / name) for name in UNITS)
    files.update(("%s%s.target" % (units, name), "/lib/systemd/system/%s.target" % name)
                 for name in TARGETS)
    files.update((program, program) for program in
                 (SYSTEMD, shutil.which("systemd-run"), shutil.which("systemctl")))
    files.update({"/systemd_init": SOURCES / "init", "/launchers": SOURCES / "launchers",
                  units + "hearthd.service": ROOT / "deploy/systemd/hearthd.service",
                  units + "hearthd.service.d/soon.conf": SOURCES / "soon.conf",
                  "/etc/hearth/hearthd.yaml": SOURCES / "hearthd.yaml",
                  "/usr/sbin/hearthd": PROGRAMS / "hearthd"})
    if FIRECRACKER and JAILER and not libraries(FIRECRACKER):
        files.update({"/bin/firecracker": FIRECRACKER, "/bin/jailer": JAILER})
    return files


class Systemd(EndingGuestTest):
    """What one guest has said."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        initrd = cls.daemon.folder / "initrd"
        cls.files = guest_files()
        make_initrd(initrd, cls.files)
        cls.said, cls.ended = cls().run_to_end(initrd, "/systemd_init", MEMORY_MIB)

    def assert_said(self, line):
        self.assertIn(line + "\n", self.said)

    def about(self, word):
        return re.search("^%s: (.*)$" % word, self.said, re.MULTILINE)[1]

    def test_the_guest_goes_through_all_of_it_and_powers_off(self):
        self.assert_said("launchers: end")
        self.assertEqual(V.VM_STATE_STOPPED, self.ended.status.state, self.said)

    def test_systemd_is_chosen_and_works(self):
        self.assert_said("launch: systemd works: keepers run in the control group "
                         "hearth.slice/hearth-vms.service/keepers")

    def test_vms_outlive_the_agents_service_unless_they_are_children(self):
        for launcher in ("systemd", "cgroup", "child"):
            self.assert_said("launch: start by-%s: done" % launcher)

        self.assert_said("launch: verify by-systemd: done")
        self.assert_said("launch: verify by-cgroup: done")
        self.assert_said("launch: verify by-child: the VMM has ended")

    def test_the_service_is_in_a_slice_and_is_delegated(self):
        unit = self.about("unit").split()

        self.assertCountEqual(["Slice=hearth.slice", "ActiveState=active",
                               "ControlGroup=/hearth.slice/hearth-vms.service"], unit)

    def test_a_vmm_without_memory_ends_alone_and_the_reason_is_known(self):
        ended = json.loads(self.about("hog"))

        self.assertEqual((9, "memory"), (ended["signal"], ended["evidence"]))
        self.assert_said("after-the-hog: active ")
        self.assertGreaterEqual(self.said.count("launch: verify by-systemd: done\n"), 2)

    def test_what_one_launcher_has_made_another_one_ends(self):
        self.assert_said("launch: verify changed: the VMM has ended")
        self.assert_said("launch: verify by-cgroup: the VMM has ended")

    def test_to_stop_the_service_ends_no_vm(self):
        self.assertIn("launch: verify by-systemd: done\n"
                      "launch: end by-systemd: done\n"
                      "launch: verify by-systemd: the VMM has ended\n", self.said)

    def test_the_next_vm_brings_it_back(self):
        self.assert_said("launch: verify again: done")
        self.assert_said("back: active ")

    def test_no_group_of_a_vm_is_left(self):
        for name in ("by-", "again", "hog", "changed"):
            self.assertNotIn(name, self.about("left"))

    def test_the_agent_takes_it(self):
        node = json.loads(self.about("node"))

        self.assertEqual("systemd", node["status"]["launcher"])

    def test_the_unit_starts_it_once_it_serves_and_ends_it(self):
        self.assert_said("unit-start: ")
        self.assert_said("unit-active: active ")
        self.assert_said("unit-status: serving ")
        self.assert_said("unit-stopped: inactive ")

    def test_one_that_hangs_is_ended_by_the_watchdog_and_comes_back(self):
        self.assert_said("unit-hung: watchdog NRestarts=1 ")
        self.assert_said("unit-back: active ")
        self.assertIn("unit-stopped: inactive \nlaunch: verify kept: done\n", self.said)

    def test_the_jail_works_within_the_service(self):
        if "/bin/jailer" not in self.files:
            self.skipTest("there is no jailer and no static Firecracker on PATH")

        self.assert_said("launch: jail: works")
