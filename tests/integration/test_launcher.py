# SPDX-License-Identifier: Apache-2.0
"""How keepers are started: where they and their VMMs are, what limits them, what they outlive."""

import os
import pathlib
import signal
import subprocess
import unittest

from firecracker_host import FIRECRACKER, JAILER, Host
from harness import Code, DaemonTest, N, V, process_alive, wait_until
from leaks import CGROUPS, groups, remove_groups

# Enters a control group, and takes so many MiB, without being large itself.
HOG = """
import os, pathlib, sys, time
pathlib.Path(sys.argv[1]).write_text("0")
taken = os.memfd_create("hog")
for _ in range(int(sys.argv[2])):
    os.write(taken, b"x" * 2**20)
time.sleep(60)
"""
READ_ONLY = ("unshare", "--mount", "sh", "-c",
             'mount --bind /sys/fs/cgroup/pids /sys/fs/cgroup/pids; '
             'mount -o remount,bind,ro /sys/fs/cgroup/pids; exec "$@"', "sh")


def groups_of(pid):
    """The group in each hierarchy."""
    lines = pathlib.Path("/proc/%d/cgroup" % pid).read_text().splitlines()
    return {line.split(":", 2)[2] for line in lines}


def use_up_memory(test, resolved):
    """Another process in the VMM's group does, and the kernel is told whom to end for it."""
    pathlib.Path("/proc/%d/oom_score_adj" % resolved.vmm_pid).write_text("1000")
    memory = CGROUPS / "memory"
    group = (memory if memory.is_dir() else CGROUPS) / resolved.cgroup
    hog = subprocess.Popen(["python3", "-c", HOG, group / "cgroup.procs",
                            str(2 * resolved.limits.memory_mib)])
    test.addCleanup(hog.wait)
    test.addCleanup(hog.kill)


def limit_of(resolved, file):
    """What the group has there, in whichever hierarchy that is."""
    return next((group / file).read_text().strip() for group in groups(resolved.cgroup)
                if (group / file).exists())


class Launched:
    """What holds jailed or not."""

    def pod(self):
        """Control groups as a pod has them, with hearthd in them."""
        name = "hearth-test-pod-%d" % os.getpid()
        pods = [top / name for top in (CGROUPS / "pids", CGROUPS / "memory", CGROUPS)
                if (top / "cgroup.procs").exists()]
        for pod in pods:
            pod.mkdir()
            self.addCleanup(self.remove_pod, pod)
            (pod / "cgroup.procs").write_text(str(self.daemon.pid))
        return pods

    @staticmethod
    def remove_pod(pod):
        for pid in (pod / "cgroup.procs").read_text().split():
            (pod.parent / "cgroup.procs").write_text(pid)
        pod.rmdir()

    def test_vms_outlive_all_that_is_in_the_agents_control_groups(self):
        """As when its pod is deleted: first the agent, then whatever has stayed with it."""
        pods = self.pod()
        vm = self.boot("exit=loop")

        self.daemon.kill()
        for pod in pods:
            for pid in (pod / "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
        self.daemon.start()

        after = self.get(vm.vm_id)
        self.assertEqual((V.VM_STATE_RUNNING, vm.status.resolved.vmm_pid),
                         (after.status.state, after.status.resolved.vmm_pid))
        self.assertTrue(process_alive(vm.status.resolved.vmm_pid))

    def test_a_keeper_is_in_the_group_of_keepers_everywhere(self):
        vm = self.boot("exit=loop")

        self.assertEqual({"/%s-keepers" % self.cgroup}, groups_of(vm.status.resolved.keeper_pid))

    def test_limits_are_set_and_the_vmm_is_in_their_group(self):
        limits = V.Limits(cpu_millis=250, memory_mib=48, pids=20)

        vm = self.boot("touch=8 exit=loop", limits=limits)

        resolved = vm.status.resolved
        self.assertEqual(limits, resolved.limits)
        self.assertIn("/" + resolved.cgroup, groups_of(resolved.vmm_pid))
        self.assertEqual("20", limit_of(resolved, "pids.max"))
        self.wait_console(vm, "guest: touched 8 MiB")

    def test_a_vmm_that_is_ended_for_lack_of_memory_says_so(self):
        vm = self.boot("exit=loop")

        use_up_memory(self, vm.status.resolved)

        failed = self.wait_state(vm.vm_id, V.VM_STATE_FAILED)

        self.assertEqual((V.EXIT_REASON_VMM_OOM, 9),
                         (failed.status.last_exit.reason, failed.status.last_exit.signal))

    def test_nothing_is_left_in_its_groups(self):
        vm = self.boot("exit=loop")

        self.destroy(vm.vm_id)

        self.leaks.check()
        self.assertEqual([], groups(vm.status.resolved.cgroup))


@unittest.skipUnless(FIRECRACKER, "no firecracker on PATH or in FIRECRACKER_BIN")
class PlainTest(Launched, Host):
    jail = ("--jailer-mode", "off", "--launcher", "cgroup")


@unittest.skipUnless(FIRECRACKER and JAILER, "no firecracker and jailer on PATH")
class JailedTest(Launched, Host):
    jail = ("--jailer-binary", JAILER, "--launcher", "cgroup")


@unittest.skipUnless(FIRECRACKER, "no firecracker on PATH or in FIRECRACKER_BIN")
class ChildTest(Host):
    jail = ("--jailer-mode", "off", "--launcher", "child")

    def test_limits_that_nobody_could_set_are_refused(self):
        request = self.request(self.new_id(), "exit=loop", limits=V.Limits(pids=20))

        failure = self.refused(self.vms.CreateVm, request, Code.UNIMPLEMENTED, "UNSUPPORTED")

        self.assertIn("spec.limits", failure.message)

    def test_the_doctor_says_what_is_lacking(self):
        checks = {check.name: check
                  for check in self.node.Doctor(N.DoctorRequest(), timeout=60).checks}

        self.assertEqual(N.CHECK_STATUS_DEGRADED, checks["launcher"].status)
        self.assertIn("launcher to systemd or cgroup", checks["launcher"].remedy)
        self.assertEqual("child", self.node.GetNode(N.GetNodeRequest(), timeout=20).status.launcher)


class Unusable(DaemonTest):
    """One hierarchy cannot be written: what stays in it would end with the agent."""

    wanted = ()

    @classmethod
    def setUpClass(cls):
        if not (CGROUPS / "pids").is_dir():
            raise unittest.SkipTest("no control groups of version 1 to be made read-only")
        cls.group = "hearth-test-%d-%s" % (os.getpid(), cls.__name__.lower())
        cls.addClassCleanup(remove_groups, cls.group)
        cls.flags = ("--jailer-cgroup", cls.group, *cls.wanted)
        super().setUpClass()

    def look(self):
        checks = {check.name: check
                  for check in self.node.Doctor(N.DoctorRequest(), timeout=60).checks}
        status = self.node.GetNode(N.GetNodeRequest(), timeout=20).status
        return checks["launcher"], status, next(c for c in status.conditions if c.type == "Ready")


class ForcedTest(Unusable):
    prefix = READ_ONLY
    wanted = ("--launcher", "cgroup")

    def test_the_node_is_not_ready_and_says_why(self):
        check, status, ready = self.look()

        self.assertEqual(N.CHECK_STATUS_MISSING, check.status)
        self.assertIn("/sys/fs/cgroup/pids", check.message)
        self.assertEqual((V.CONDITION_STATUS_FALSE, check.message), (ready.status, ready.message))
        self.assertEqual("cgroup", status.launcher)


class NoSystemdTest(Unusable):
    wanted = ("--launcher", "systemd")

    @classmethod
    def setUpClass(cls):
        if os.path.exists("/run/systemd/system"):
            raise unittest.SkipTest("process 1 is systemd")
        super().setUpClass()

    def test_systemd_that_is_asked_for_but_not_there_is_told(self):
        check, status, ready = self.look()

        self.assertEqual(N.CHECK_STATUS_MISSING, check.status)
        self.assertEqual("process 1 is not systemd", check.message)
        self.assertEqual((V.CONDITION_STATUS_FALSE, check.message), (ready.status, ready.message))
        self.assertEqual("systemd", status.launcher)


class OwnNamespace(Unusable):
    """unshare does not hear of anything but its death, and with it all in its PID namespace ends."""

    wanted = ("--launcher", "cgroup", "--jailer-mode", "off")  # a jail's try would leave its group
    unshare = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")

    @classmethod
    def tearDownClass(cls):
        cls.daemon.kill()
        super().tearDownClass()


class Confined(OwnNamespace):
    """As in a pod that has its own group for the root of all it sees; process 1 has the host's."""

    less = ()

    @classmethod
    def setUpClass(cls):
        pod = "hearth-test-%d-%s-pod" % (os.getpid(), cls.__name__.lower())
        members = CGROUPS / "pids" / pod / "cgroup.procs"
        cls.addClassCleanup(remove_groups, pod)
        cls.addClassCleanup(wait_until, lambda: not members.read_text(), "the pod is empty")
        cls.prefix = (*cls.unshare, "sh", "-c", 'mkdir "$0"; sh -c \'echo $$ > "$0/cgroup.procs"; '
                      'exec unshare --cgroup "$@"\' "$0" "$@" & wait', CGROUPS / "pids" / pod,
                      *cls.less)
        super().setUpClass()


class ConfinedTest(Confined):
    def test_keepers_leave_a_namespace_of_control_groups(self):
        check, _, ready = self.look()

        self.assertEqual((N.CHECK_STATUS_OK, V.CONDITION_STATUS_TRUE), (check.status, ready.status),
                         check.message)


class CaughtTest(Confined):
    less = ("setpriv", "--bounding-set", "-sys_ptrace,-sys_nice")

    def test_a_namespace_of_control_groups_that_cannot_be_left_is_told_of(self):
        check, _, ready = self.look()

        self.assertIn("/proc/1/ns/cgroup: Permission denied", check.message)
        self.assertEqual((V.CONDITION_STATUS_FALSE, check.message), (ready.status, ready.message))


class OwnPidsTest(OwnNamespace):
    """As in a pod without hostPID: its end is the end of all its processes, in whatever group."""

    prefix = ("env", "KUBERNETES_SERVICE_HOST=192.0.2.1", *OwnNamespace.unshare)

    def test_a_pod_without_the_hosts_pids_is_not_ready(self):
        check, _, ready = self.look()

        self.assertEqual(N.CHECK_STATUS_MISSING, check.status)
        self.assertIn("hostPID", check.message)
        self.assertEqual((V.CONDITION_STATUS_FALSE, check.message), (ready.status, ready.message))


@unittest.skipUnless(os.stat("/proc/self/ns/pid").st_ino == 0xEFFFFFFC,
                     "this is no host, but has a PID namespace of its own")
class HostPidsTest(Unusable):
    prefix = ("env", "KUBERNETES_SERVICE_HOST=192.0.2.1")

    def test_a_pod_with_the_hosts_pids_is_ready(self):
        check, _, ready = self.look()

        self.assertEqual((N.CHECK_STATUS_OK, V.CONDITION_STATUS_TRUE), (check.status, ready.status),
                         check.message)


class PodTest(Unusable):
    prefix = ("env", "KUBERNETES_SERVICE_HOST=192.0.2.1", *READ_ONLY)

    def test_in_a_pod_no_vm_is_started_that_would_end_with_it(self):
        check, status, ready = self.look()

        self.assertEqual(N.CHECK_STATUS_MISSING, check.status)
        self.assertEqual("cgroup", status.launcher)
        self.assertEqual(V.CONDITION_STATUS_FALSE, ready.status)


class AutoTest(Unusable):
    prefix = READ_ONLY

    def test_elsewhere_keepers_are_children_and_it_is_said(self):
        check, status, ready = self.look()

        self.assertEqual(N.CHECK_STATUS_DEGRADED, check.status)
        self.assertIn("/sys/fs/cgroup/pids", check.message)
        self.assertEqual(("child", V.CONDITION_STATUS_TRUE), (status.launcher, ready.status))
