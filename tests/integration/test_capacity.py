# SPDX-License-Identifier: Apache-2.0
"""What a node has room for: refused is what does not fit, with all that there is too little of."""

import subprocess
import unittest

from google.rpc import error_details_pb2
from grpc_status import rpc_status
import grpc

from firecracker_host import FIRECRACKER, JAILER, KERNEL, Host
from harness import Code, DaemonTest, N, V


class CapacityTest(DaemonTest):
    """What does not have to run to be counted."""

    flags = ("--network-mode", "off", "--network-pool4", "10.9.0.0/29", "--limits-max-vms", "20",
             "--capacity-reserved-disk-mib", "1000000000")

    def status(self):
        return self.node.GetNode(N.GetNodeRequest(), timeout=20).status

    def create_refused(self, **spec):
        return self.refused(self.vms.CreateVm, V.CreateVmRequest(
            vm_id=self.new_id(), spec=V.VmSpec(**spec)), Code.RESOURCE_EXHAUSTED, "CAPACITY")

    def destroy(self, vm):
        self.vms.DestroyVm(V.DestroyVmRequest(vm_id=vm.vm_id), timeout=20)

    def test_a_disk_without_room_takes_no_vm_that_writes_there(self):
        kernel = V.Boot(kernel_path=str(KERNEL))

        failure = self.create_refused(backend=V.BACKEND_QEMU, boot=kernel)

        self.assertEqual(("disk_mib", "2", "0"), tuple(
            failure.metadata[key] for key in ("resource", "requested", "available")))
        self.assertEqual(0, self.status().allocatable.disk_mib)
        self.assertGreater(self.status().capacity.disk_mib, 0)
        self.destroy(self.create())  # one in memory writes nothing there

    def test_addresses_are_counted_and_come_back(self):
        interface = [V.NetworkInterface(interface_id="eth0")]
        vms = [self.create(network_interfaces=interface) for _ in range(5)]

        failure = self.create_refused(network_interfaces=interface)
        full = self.status()
        for vm in vms:
            self.destroy(vm)

        self.assertEqual("insufficient ipv4_addresses: requested 1, available 0", failure.message)
        self.assertEqual((5, 5), (full.allocated.ipv4_addresses, full.capacity.ipv4_addresses))
        self.assertEqual(0, self.status().allocated.ipv4_addresses)

    def test_vms_are_counted_over_a_kill_too(self):
        vms = [self.create() for _ in range(3)]
        before = self.status()

        self.daemon.restart()

        self.assertEqual(before.allocated, self.status().allocated)
        self.assertEqual(before.allocated.vms, sum(c.count for c in before.vm_counts))
        for vm in vms:
            self.destroy(vm)
        self.assertEqual(before.allocated.vms - 3, self.status().allocated.vms)

    def test_to_ask_is_to_be_told(self):
        request = V.CreateVmRequest(vm_id=self.new_id(), validate_only=True, spec=V.VmSpec(
            backend=V.BACKEND_QEMU, boot=V.Boot(kernel_path=str(KERNEL))))

        self.refused(self.vms.CreateVm, request, Code.RESOURCE_EXHAUSTED, "CAPACITY")

    def test_a_configuration_that_says_nonsense_is_refused_by_name(self):
        for key, value in (("cpu_percent", "-1"), ("cpu_percent", "100001"),
                           ("memory_percent", "10001"), ("memory_percent", "half"),
                           ("reserved_memory_mib", "1e3"), ("reserved_disk_mib", "1000000001")):
            with self.subTest(key=key, value=value):
                flag = "--capacity-" + key.replace("_", "-")
                result = subprocess.run(self.daemon.command(flag, value), timeout=30,
                                        capture_output=True, text=True)

                self.assertNotEqual(0, result.returncode)
                self.assertIn("capacity." + key, result.stdout + result.stderr)


class FullNodeTest(DaemonTest):
    """One that has no more room for VMs of any kind."""

    flags = ("--limits-max-vms", "3")

    def test_one_too_many_leaves_nothing_and_fits_once_another_is_gone(self):
        vms = [self.running() for _ in range(3)]
        revision = self.revision()
        request = V.CreateVmRequest(vm_id=self.new_id(), spec=V.VmSpec())

        failure = self.refused(self.vms.CreateVm, request, Code.RESOURCE_EXHAUSTED, "CAPACITY")
        again = self.vms.CreateVm(V.CreateVmRequest(vm_id=vms[0].vm_id, spec=vms[0].spec),
                                  timeout=20)
        left = self.revision()
        self.vms.DestroyVm(V.DestroyVmRequest(vm_id=vms[1].vm_id), timeout=20)
        self.vms.CreateVm(request, timeout=20)

        self.assertEqual("insufficient vms: requested 1, available 0", failure.message)
        self.assertEqual(vms[0].uid, again.uid)  # one that is there is no new one
        self.assertEqual(revision, left)
        self.refused(self.vms.GetVm, V.GetVmRequest(vm_id=vms[1].vm_id), Code.NOT_FOUND)


@unittest.skipUnless(FIRECRACKER and JAILER, "no firecracker and jailer on PATH")
class RunningCapacityTest(Host):
    """What VMs have that run, on the real Firecracker."""

    jail = ("--jailer-binary", JAILER)

    @classmethod
    def flags_of(cls, cgroup):
        cpus = 100  # as many virtual CPUs as the host has
        return (*super().flags_of(cgroup)[:-2], "--capacity-cpu-percent", str(cpus))

    def allocated(self):
        return self.node.GetNode(N.GetNodeRequest(), timeout=20).status.allocated

    def test_all_that_is_lacking_is_said_and_nothing_is_touched(self):
        node = self.node.GetNode(N.GetNodeRequest(), timeout=20).status
        machine = V.Machine(vcpus=32, memory_mib=64 * 1024)
        vm_id = self.new_vm_id()
        request = self.request(vm_id, "exit=loop")
        request.spec.machine.CopyFrom(machine)

        with self.assertRaises(grpc.RpcError) as caught:
            self.vms.CreateVm(request, timeout=30)

        quota = error_details_pb2.QuotaFailure()
        details = rpc_status.from_call(caught.exception).details
        self.assertTrue(any(detail.Unpack(quota) for detail in details))
        self.assertEqual(
            [("vcpus", "requested 32, available %d" % node.allocatable.vcpus),
             ("memory_mib", "requested 65536, available %d" % node.allocatable.memory_mib)],
            [(violation.subject, violation.description) for violation in quota.violations])
        self.assertEqual(node.allocated, self.allocated())
        self.leaks.check()

    def test_what_runs_is_counted_until_it_does_not_over_a_kill_too(self):
        before = self.allocated()

        vm = self.boot("exit=loop")
        running = self.allocated()
        self.daemon.restart()
        adopted = self.allocated()
        self.vms.StopVm(V.StopVmRequest(vm_id=vm.vm_id), timeout=60)
        stopped = self.allocated()
        self.destroy(vm.vm_id)

        self.assertEqual((before.vcpus + 1, before.memory_mib + 16),
                         (running.vcpus, running.memory_mib))
        self.assertEqual(running, adopted)
        self.assertEqual((before.vcpus, before.memory_mib, before.vms + 1),
                         (stopped.vcpus, stopped.memory_mib, stopped.vms))
        self.assertEqual(before, self.allocated())

    def test_a_vm_at_rest_needs_no_room_until_it_is_to_start(self):
        node = self.node.GetNode(N.GetNodeRequest(), timeout=20).status
        most = node.allocatable.vcpus
        request = self.request(self.new_vm_id(), "exit=loop")
        request.spec.machine.vcpus = most
        request.spec.desired_state = V.DESIRED_STATE_STOPPED
        vm = self.vms.CreateVm(request, timeout=30)
        start = V.StartVmRequest(vm_id=vm.vm_id)
        other = self.boot("exit=loop")

        failure = self.refused(self.vms.StartVm, start, Code.RESOURCE_EXHAUSTED, "CAPACITY")
        refused = self.get(vm.vm_id)
        self.vms.StopVm(V.StopVmRequest(vm_id=other.vm_id), timeout=60)
        started = self.vms.StartVm(start, timeout=60)

        self.assertEqual("insufficient vcpus: requested %d, available %d" % (most, most - 1),
                         failure.message)
        self.assertEqual((vm.revision, V.VM_STATE_CREATED), (refused.revision, refused.status.state))
        self.assertEqual(V.VM_STATE_RUNNING, started.status.state)

    def test_huge_pages_are_not_memory(self):
        node = self.node.GetNode(N.GetNodeRequest(), timeout=20).status
        pages = node.allocatable.huge_pages_2m + 8
        request = self.request(self.new_vm_id(), "exit=loop", memory_mib=2 * pages)
        request.spec.machine.huge_pages = V.HUGE_PAGES_2M

        for request.validate_only in (True, False):
            failure = self.refused(self.vms.CreateVm, request, Code.RESOURCE_EXHAUSTED, "CAPACITY")

            self.assertEqual("insufficient huge_pages_2m: requested %d, available %d" % (
                pages, pages - 8), failure.message)
        self.assertEqual(node.allocated, self.allocated())

    def test_an_agent_with_less_to_give_ends_nothing_and_says_so(self):
        vm = self.boot("exit=loop")
        reserved = self.node.GetNode(N.GetNodeRequest(), timeout=20).status.capacity.memory_mib - 1
        flags = self.daemon.flags
        self.addCleanup(self.daemon.restart)
        self.addCleanup(setattr, self.daemon, "flags", flags)

        self.daemon.flags = [*flags, "--capacity-reserved-memory-mib", str(reserved)]
        self.daemon.restart()
        checks = self.node.Doctor(N.DoctorRequest(), timeout=60).checks
        failure = self.refused(self.vms.CreateVm, self.request(self.new_id(), "exit=loop"),
                               Code.RESOURCE_EXHAUSTED, "CAPACITY")

        self.assertEqual(V.VM_STATE_RUNNING, self.get(vm.vm_id).status.state)
        self.assertEqual(16, self.allocated().memory_mib)
        check = next(check for check in checks if check.name == "capacity")
        self.assertEqual(N.CHECK_STATUS_DEGRADED, check.status)
        self.assertEqual("memory_mib: VMs have 16 of 1", check.message)
        self.assertIn("insufficient memory_mib: requested 16, available 0", failure.message)
