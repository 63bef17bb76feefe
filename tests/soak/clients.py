# SPDX-License-Identifier: Apache-2.0
"""Clients that do whatever comes into their minds, and compare what they see with the model."""

import random
import threading
import time

import grpc
from google.protobuf import duration_pb2, field_mask_pb2

from harness import Client, Code, V
from model import ABSENT, FAILED, PAUSED, RUNNING, UNANSWERED, Expected, Violation

SECONDS = 60
PATIENCE = 0.05  # before the next call when nobody answers
AT_REST = (V.VM_STATE_CREATED, RUNNING, PAUSED, V.VM_STATE_STOPPED, FAILED, V.VM_STATE_POISONED)
WEIGHTS = {"create": 6, "start": 4, "stop": 4, "pause": 3, "resume": 3, "destroy": 3, "update": 2,
           "look": 3}


class Mind(threading.Thread):
    """One client, with VMs of its own."""

    def __init__(self, soak, number, vm_ids, seed):
        super().__init__(name="client-%d" % number, daemon=True)
        self.soak = soak
        self.random = random.Random(seed)
        self.vms = {vm_id: Expected() for vm_id in vm_ids}
        self.client = Client(soak.daemon.address)
        self.calls = self.unanswered = 0
        self.violation = None

    def run(self):
        try:
            while not self.soak.ending.is_set():
                with self.soak.turns.shared():
                    self.act(self.random.choice(list(self.vms)))
        except Violation as violation:
            self.violation = violation
            self.soak.ending.set()

    def request(self, verb, vm_id):
        if verb == "create":
            return "CreateVm", V.CreateVmRequest(vm_id=vm_id, spec=self.soak.spec(self.random))
        if verb == "stop":
            return "StopVm", V.StopVmRequest(
                vm_id=vm_id, power_button_timeout=duration_pb2.Duration(),
                terminate_timeout=duration_pb2.Duration(nanos=200_000_000))
        if verb == "destroy":
            return "DestroyVm", V.DestroyVmRequest(vm_id=vm_id, allow_missing=True)
        name = verb.capitalize() + "Vm"
        return name, getattr(V, name + "Request")(vm_id=vm_id)

    def call(self, method, request):
        self.calls += 1
        return getattr(self.client.vms, method)(request, timeout=SECONDS)

    def act(self, vm_id):
        verb = self.random.choices(list(WEIGHTS), WEIGHTS.values())[0]
        self.soak.note(vm_id, verb)
        try:
            if verb == "look":
                self.look(vm_id)
            elif verb == "update":
                self.update(vm_id)
            else:
                self.do(verb, vm_id)
        except Violation as violation:
            raise Violation("%s: %s: %s" % (vm_id, verb, violation)) from violation

    def do(self, verb, vm_id):
        vm = self.vms[vm_id]
        try:
            answer = self.call(*self.request(verb, vm_id))
        except grpc.RpcError as error:
            self.failed(verb, vm, error)
            return
        if verb == "create" and vm.states == {ABSENT}:
            vm.uid, vm.labels, vm.labels_in_doubt = answer.uid, dict(answer.spec.labels), False
        elif verb == "create":
            self.created_before(vm, answer)
            return
        vm.done(verb)

    def created_before(self, vm, answer):
        """The same create is answered with the VM as it is; one that was in doubt may be it."""
        if ABSENT in vm.states or not vm.uid:
            vm.uid, vm.labels, vm.labels_in_doubt = answer.uid, dict(answer.spec.labels), False
        elif answer.uid != vm.uid:
            raise Violation("is another one, with uid %s instead of %s" % (answer.uid, vm.uid))
        if ABSENT in vm.states:
            vm.states = (vm.states - {ABSENT}) | {RUNNING}

    def failed(self, verb, vm, error):
        code = error.code()
        if code in UNANSWERED:
            self.nobody_answered()
            if verb == "create" and ABSENT in vm.states:
                vm.uid, vm.labels_in_doubt = "", True
            vm.in_doubt(verb)
        elif code == Code.FAILED_PRECONDITION:
            vm.refused(verb)
        elif code in (Code.NOT_FOUND, Code.ALREADY_EXISTS):
            vm.found(code == Code.ALREADY_EXISTS)
        elif code == Code.INTERNAL and self.soak.has_faults:
            vm.in_doubt(verb)  # its VMM was killed under the operation
            vm.lost_vmm()
            if verb in ("create", "start"):
                vm.states |= {FAILED}
        else:
            raise Violation("%s: %s" % (code, error.details()))

    def nobody_answered(self):
        self.unanswered += 1
        time.sleep(PATIENCE)

    def update(self, vm_id):
        vm = self.vms[vm_id]
        labels = {"n": str(self.random.randrange(1000))}
        try:
            self.call("UpdateVm", V.UpdateVmRequest(
                vm_id=vm_id, spec=V.VmSpec(labels=labels),
                update_mask=field_mask_pb2.FieldMask(paths=["labels"])))
        except grpc.RpcError as error:
            if error.code() in UNANSWERED:
                vm.labels_in_doubt = True
                self.nobody_answered()
            elif error.code() == Code.NOT_FOUND:
                vm.found(False)
            elif error.code() == Code.FAILED_PRECONDITION and not vm.settled:
                pass  # it is being destroyed
            else:
                raise Violation("%s: %s" % (error.code(), error.details())) from error
            return
        vm.found(True)
        vm.labels, vm.labels_in_doubt = labels, False

    def look(self, vm_id):
        """Waits for it to be at rest, and compares."""
        vm = self.vms[vm_id]
        try:
            answer = self.call("WaitVm", V.WaitVmRequest(vm_id=vm_id, states=AT_REST))
        except grpc.RpcError as error:
            if error.code() in UNANSWERED:
                return
            if error.code() != Code.NOT_FOUND:
                raise Violation("%s: %s" % (error.code(), error.details())) from error
            vm.found(False)
            return
        vm.seen(answer.status.state)
        if not vm.uid or ABSENT in vm.states:
            vm.uid = answer.uid
        if not vm.labels_in_doubt and dict(answer.spec.labels) != vm.labels:
            raise Violation("has labels %s, not %s" % (dict(answer.spec.labels), vm.labels))
        vm.labels, vm.labels_in_doubt = dict(answer.spec.labels), False

    def lost_vmm(self, vm_id):
        self.vms[vm_id].lost_vmm()

    def end(self):
        """Looks at all of them, and destroys them."""
        for vm_id in self.vms:
            self.look(vm_id)
            self.do("destroy", vm_id)
            self.look(vm_id)
        self.client.close()
