# SPDX-License-Identifier: Apache-2.0
"""The node through the API: cordons, what it says of itself, the doctor."""

import time

from harness import Code, DaemonTest, Hearthd, N, V


class Node(DaemonTest):
    tcp = True

    def uncordon(self, owner):
        return self.node.Uncordon(N.UncordonRequest(owner=owner), timeout=20)

    def test_a_cordon_refuses_new_vms_until_every_owner_has_lifted_it(self):
        vm = self.create()
        for owner in ("upgrade", "operator"):
            self.node.Cordon(N.CordonRequest(owner=owner, reason="because"), timeout=20)
        self.addCleanup(self.uncordon, "upgrade")
        self.addCleanup(self.uncordon, "operator")

        failure = self.refused(self.vms.CreateVm, V.CreateVmRequest(
            vm_id=self.new_id(), spec=V.VmSpec()), Code.UNAVAILABLE, "CORDONED")
        self.uncordon("upgrade")
        self.refused(self.vms.CreateVm, V.CreateVmRequest(
            vm_id=self.new_id(), spec=V.VmSpec()), Code.UNAVAILABLE, "CORDONED")
        started = self.vms.StartVm(V.StartVmRequest(vm_id=vm.vm_id), timeout=20)
        node = self.uncordon("operator")
        self.create()

        self.assertEqual("ELSEWHERE", failure.metadata["retry"])
        self.assertEqual(V.VM_STATE_RUNNING, started.status.state)
        self.assertEqual([], list(node.status.cordons))

    def test_lifting_a_cordon_that_is_none_is_fine(self):
        self.uncordon("nobody")

    def test_a_cordon_needs_an_owner(self):
        failure = self.refused(self.node.Cordon, N.CordonRequest(reason="x"),
                               Code.INVALID_ARGUMENT, "INVALID_REQUEST")

        self.assertIn("owner", failure.violations)

    def test_a_cordon_that_is_only_checked_is_none(self):
        self.node.Cordon(N.CordonRequest(owner="x", validate_only=True), timeout=20)

        node = self.node.GetNode(N.GetNodeRequest(), timeout=20)
        self.assertEqual([], list(node.status.cordons))

    def test_the_node_says_what_it_is(self):
        self.running(machine=V.Machine(vcpus=2, memory_mib=64))

        node = self.node.GetNode(N.GetNodeRequest(), timeout=20)

        self.assertTrue(node.node_id)
        status = node.status
        with open("/proc/sys/kernel/random/boot_id") as boot_id:
            self.assertEqual(boot_id.read().strip(), status.boot_id)
        self.assertTrue(status.store_id and status.agent_version and status.kernel)
        self.assertIn(status.launcher, ("cgroup", "child"))
        backends = {info.backend: info for info in status.backends}
        self.assertTrue(backends[V.BACKEND_IN_MEMORY].available)
        self.assertTrue(backends[V.BACKEND_IN_MEMORY].is_default)
        self.assertIn("pause", backends[V.BACKEND_IN_MEMORY].capabilities)
        self.assertIn(V.BACKEND_QEMU, backends)
        conditions = {c.type: c.status for c in status.conditions}
        self.assertEqual({"Ready", "Adopted", "StoreWritable", "NetworkReady"}, set(conditions))
        self.assertGreaterEqual(status.allocated.vms, 1)
        self.assertEqual(0, status.allocated.vcpus)  # VMs in memory take none
        self.assertGreater(status.capacity.memory_mib, 0)
        self.assertEqual(10 * status.capacity.vcpus, status.allocatable.vcpus)
        self.assertEqual(status.capacity.memory_mib - 512, status.allocatable.memory_mib)

    def test_a_condition_has_its_own_time_not_that_of_who_asks(self):
        daemon = Hearthd("--qemu-binary", "/none", "--firecracker-binary", "/none")
        self.addCleanup(daemon.close)
        daemon.start(wait=False)

        time.sleep(6)  # it has long been ready, and nobody has asked
        asked = time.time()
        node = daemon.node.GetNode(N.GetNodeRequest(), timeout=20)

        for condition in node.status.conditions:
            self.assertEqual(V.CONDITION_STATUS_TRUE, condition.status, condition)
            self.assertLess(condition.transition_time.ToNanoseconds() / 1e9, asked - 1, condition)

    def test_who_watches_the_node_hears_of_a_cordon(self):
        watching = self.node.WatchNode(N.WatchNodeRequest(), timeout=30)
        self.assertEqual([], list(next(watching).status.cordons))

        self.node.Cordon(N.CordonRequest(owner="watched"), timeout=20)
        self.addCleanup(self.uncordon, "watched")

        owners = []
        while owners != ["watched"]:
            owners = [cordon.owner for cordon in next(watching).status.cordons]
        watching.cancel()

    def test_the_doctor_says_what_to_do_about_what_is_missing(self):
        checks = {check.name: check
                  for check in self.node.Doctor(N.DoctorRequest(), timeout=60).checks}

        for name in ("kvm", "qemu", "state_dir"):
            self.assertIn(name, checks)
        for check in checks.values():
            self.assertNotEqual(N.CHECK_STATUS_UNSPECIFIED, check.status)
            self.assertTrue(check.message, check.name)
            if check.status != N.CHECK_STATUS_OK:
                self.assertTrue(check.remedy, check.name)

    def test_over_tcp_the_address_is_the_principal(self):
        client = self.daemon.connect(self.daemon.tcp)

        vm = client.vms.CreateVm(V.CreateVmRequest(vm_id=self.new_id(), spec=V.VmSpec(
            desired_state=V.DESIRED_STATE_RUNNING)), timeout=20)

        self.assertIn("127.0.0.1", vm.status.last_operation.principal)


class Drain(DaemonTest):
    """What a drain ends, and what it leaves."""

    def drain(self, action, **more):
        self.addCleanup(self.node.Uncordon, N.UncordonRequest(owner="upgrade"), timeout=20)
        return self.node.Drain(N.DrainRequest(owner="upgrade", action=action, **more), timeout=60)

    def states(self, vms):
        return [self.vms.GetVm(V.GetVmRequest(vm_id=vm.vm_id), timeout=20).status.state
                for vm in vms]

    def test_a_drain_stops_what_runs_and_takes_no_new_vms(self):
        running = [self.running(labels={"tier": "web"}) for _ in range(100)]
        created = self.create(labels={"tier": "web"})

        answer = self.drain(N.DRAIN_ACTION_STOP, reason="new kernel", label_selector="tier=web")

        self.assertEqual((100, 0), (answer.ended, answer.failed))
        self.assertEqual({V.VM_STATE_STOPPED}, set(self.states(running)))
        self.assertEqual([V.VM_STATE_CREATED], self.states([created]))
        self.refused(self.vms.CreateVm, V.CreateVmRequest(vm_id=self.new_id(), spec=V.VmSpec()),
                     Code.UNAVAILABLE, "CORDONED")
        node = self.node.GetNode(N.GetNodeRequest(), timeout=20)
        self.assertEqual([("upgrade", "new kernel")],
                         [(cordon.owner, cordon.reason) for cordon in node.status.cordons])
        again = self.drain(N.DRAIN_ACTION_STOP, label_selector="tier=web")
        self.assertEqual((0, 0), (again.ended, again.failed))

    def test_a_drain_destroys_what_its_selector_and_tenant_mean(self):
        meant = [self.running(labels={"tier": "front"}) for _ in range(3)]
        meant.append(self.create(labels={"tier": "front"}))
        spared = self.running(labels={"tier": "back"})

        counted = self.drain(N.DRAIN_ACTION_DESTROY, label_selector="tier=front",
                             validate_only=True)
        self.assertEqual(4, counted.ended)
        self.assertEqual([], list(self.node.GetNode(N.GetNodeRequest(), timeout=20).status.cordons))
        nobodys = self.drain(N.DRAIN_ACTION_DESTROY, label_selector="tier=front", tenant="nobody")
        self.assertEqual(0, nobodys.ended)
        answer = self.drain(N.DRAIN_ACTION_DESTROY, label_selector="tier=front")

        self.assertEqual((4, 0), (answer.ended, answer.failed))
        self.assertEqual([V.VM_STATE_RUNNING], self.states([spared]))
        for vm in meant:
            self.refused(self.vms.GetVm, V.GetVmRequest(vm_id=vm.vm_id), Code.NOT_FOUND,
                         "VM_NOT_FOUND")

    def test_what_is_wrong_with_a_drain_is_named_at_once(self):
        failure = self.refused(self.node.Drain, N.DrainRequest(
            label_selector="=", tenant="a b", grace={"seconds": -1}), Code.INVALID_ARGUMENT,
            "INVALID_REQUEST")

        self.assertEqual({"owner", "action", "label_selector", "tenant", "grace"},
                         set(failure.violations))

    def test_hearthctl_drains(self):
        self.running()

        checked = self.ctl("node", "drain", "upgrade", "--action", "destroy", "--validate-only")
        done = self.ctl("node", "drain", "upgrade", "--action", "destroy")
        self.addCleanup(self.node.Uncordon, N.UncordonRequest(owner="upgrade"), timeout=20)

        self.assertIn("would end", checked.stdout)
        self.assertIn("0 have not", done.stdout)
