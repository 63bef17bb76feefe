# SPDX-License-Identifier: Apache-2.0
"""The lives that VMs lead in the tests of crashes: on each backend, one operation after another."""

import contextlib
import dataclasses
import hashlib
import os
import shutil
import signal
import typing

import grpc
from google.protobuf import duration_pb2, field_mask_pb2

from harness import E, GUEST, I, PROGRAMS, S as SNAPSHOTS, V, wait_until

S = V.VmState
VM = "crash"
TEMPLATE, ORIGIN = "crash-template", "crash-origin"
FIRECRACKER = os.environ.get("FIRECRACKER_BIN") or shutil.which("firecracker")
JAILER = os.environ.get("JAILER_BIN") or shutil.which("jailer")
GROUP = "hearth-crash-%d" % os.getpid()
SECONDS = 60


@dataclasses.dataclass(frozen=True)
class Step:
    """An operation: what is called, and the states its VM may be in after a crash in its midst."""
    name: str
    call: typing.Callable
    done: int  # the state it leads to; None: there is no VM any more
    before: int  # the state it begins in
    after: tuple = ("create",)  # the steps that lead there


def policy(*ports):
    return V.EgressPolicy(rules=[V.EgressRule(to=[V.EgressPeer(cidr="192.0.2.0/24")],
                                              ports=[V.EgressPort(port=port) for port in ports])])


def verb(name, request, **fields):
    def call(daemon):
        return getattr(daemon.vms, name)(request(vm_id=VM, **fields), timeout=SECONDS)
    return call


def create(spec, template):
    """With the template that a drive of its is made of."""
    def call(daemon):
        if template:
            digest = hashlib.sha256(template.read_bytes()).hexdigest()
            list(daemon.client.images.ImportTemplate(
                I.ImportTemplateRequest(template_id=TEMPLATE, path=str(template), sha256=digest),
                timeout=SECONDS))
        return verb("CreateVm", V.CreateVmRequest, spec=spec)(daemon)
    return call


def snapshot(daemon, vm_id=VM, **fields):
    return daemon.client.snapshots.CreateSnapshot(SNAPSHOTS.CreateSnapshotRequest(
        vm_id=vm_id, snapshot_id="one", **fields), timeout=SECONDS)


def forget(daemon, snapshot_id):
    daemon.client.snapshots.DeleteSnapshot(SNAPSHOTS.DeleteSnapshotRequest(
        vm_id=VM, snapshot_id=snapshot_id, allow_missing=True), timeout=SECONDS)


def diff(daemon):
    """Over the snapshot before, which is taken anew where a death has left none that fits."""
    laid_over = SNAPSHOTS.CreateSnapshotRequest(vm_id=VM, snapshot_id="two",
                                                parent_snapshot_id="one")
    try:
        daemon.client.snapshots.CreateSnapshot(laid_over, timeout=SECONDS)
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.INVALID_ARGUMENT:
            raise
        forget(daemon, "one")
        snapshot(daemon)
        daemon.client.snapshots.CreateSnapshot(laid_over, timeout=SECONDS)
    return daemon.client.snapshots.FlattenSnapshot(
        SNAPSHOTS.FlattenSnapshotRequest(vm_id=VM, snapshot_id="two"), timeout=SECONDS)


def restore(spec):
    """From a snapshot that stays the node's."""
    def call(daemon):
        listed = daemon.client.snapshots.ListSnapshots(
            SNAPSHOTS.ListSnapshotsRequest(vm_id=ORIGIN), timeout=SECONDS)
        if not listed.snapshots:
            daemon.vms.CreateVm(V.CreateVmRequest(vm_id=ORIGIN, spec=spec), timeout=SECONDS)
            snapshot(daemon, ORIGIN, then=SNAPSHOTS.SNAPSHOT_THEN_STOP)
            daemon.vms.DestroyVm(V.DestroyVmRequest(vm_id=ORIGIN), timeout=SECONDS)
        return verb("CreateVm", V.CreateVmRequest, spec=V.VmSpec(
            desired_state=V.DESIRED_STATE_RUNNING, egress=spec.egress,
            restore_from=V.RestoreFrom(vm_id=ORIGIN, snapshot_id="one",
                                       allow_shared_identity=True)))(daemon)
    return call


def destroy(daemon):
    answer = verb("DestroyVm", V.DestroyVmRequest, allow_missing=True)(daemon)
    for snapshot_id in "two", "one":
        forget(daemon, snapshot_id)
    daemon.client.images.DeleteTemplate(
        I.DeleteTemplateRequest(template_id=TEMPLATE, allow_missing=True), timeout=SECONDS)
    return answer


def update(path, spec):
    return verb("UpdateVm", V.UpdateVmRequest, spec=spec,
                update_mask=field_mask_pb2.FieldMask(paths=[path]))


def set_egress(daemon):
    return daemon.client.egress.SetEgressPolicy(
        E.SetEgressPolicyRequest(vm_id=VM, policy=policy(80, 443)), timeout=SECONDS)


def end_vmm(daemon):
    """As if the VMM had failed: the restart policy has it run again."""
    def look():
        return daemon.vms.GetVm(V.GetVmRequest(vm_id=VM), timeout=SECONDS).status

    status = look()
    if not status.restart_count:
        with contextlib.suppress(ProcessLookupError):
            os.kill(status.resolved.vmm_pid, signal.SIGKILL)
    wait_until(lambda: look().restart_count and look().state == S.VM_STATE_RUNNING,
               "it runs again", SECONDS)


def begin_anew(daemon):
    """Another agent finds the VM."""
    if daemon.process.poll() is None:
        daemon.kill()
    daemon.start()
    daemon.settle()


def steps_of(spec, *updates, names=(), template=None, restores=False):
    """A whole life of a VM with that spec, or some of its steps."""
    run = V.VmSpec()
    run.CopyFrom(spec)
    run.desired_state = V.DESIRED_STATE_RUNNING
    run.restart_policy.mode = V.RESTART_MODE_ALWAYS
    run.restart_policy.initial_backoff.FromMilliseconds(100)
    running, paused, stopped = S.VM_STATE_RUNNING, S.VM_STATE_PAUSED, S.VM_STATE_STOPPED
    stop = dict(power_button_timeout=duration_pb2.Duration(),
                terminate_timeout=duration_pb2.Duration(seconds=1))
    steps = (
        Step("create", restore(run) if restores else create(run, template), running, None, ()),
        Step("adopt", begin_anew, running, running),
        *(Step("update", update(path, more), running, running) for path, more in updates),
        Step("egress", set_egress, running, running),
        Step("snapshot", snapshot, running, running),
        *([Step("diff", diff, running, running, ("create", "snapshot"))]
          if spec.machine.track_dirty_pages else []),
        Step("restart", end_vmm, running, running),
        Step("pause", verb("PauseVm", V.PauseVmRequest), paused, running),
        Step("resume", verb("ResumeVm", V.ResumeVmRequest), running, paused, ("create", "pause")),
        Step("stop", verb("StopVm", V.StopVmRequest, **stop), stopped, running),
        Step("start", verb("StartVm", V.StartVmRequest), running, stopped, ("create", "stop")),
        Step("destroy", destroy, None, running),
    )
    return [step for step in steps if not names or step.name in names]


@dataclasses.dataclass(frozen=True)
class Life:
    name: str
    backend: str
    flags: tuple
    steps: list
    skip: str = ""  # why it cannot be led here


def lives(folder):
    """All of them; their disks are files of that folder."""
    disks = []
    for name in "first", "second", "template":
        disks.append(folder / name)
        with open(disks[-1], "wb") as disk:
            disk.truncate(1 << 20)
    template = disks.pop()
    template.write_bytes(os.urandom(4096) + bytes(1 << 20))
    network = [V.NetworkInterface(interface_id="eth0")]
    labels = ("labels", V.VmSpec(labels={"of": "an update"}))
    # Nothing is looked for that the life does not need.
    no_qemu, no_firecracker = ("--qemu-binary", "/none"), ("--firecracker-binary", "/none")
    routed = ("--network-mode", "routed", "--limits-max-vms", "64", "--capacity-cpu-percent", "0")
    guest = V.Boot(kernel_path=str(PROGRAMS.parent / "guest/guest64.elf"), boot_args="exit=loop")
    linux = V.Boot(kernel_path=str(GUEST / "vmlinuz"), initrd_path=str(GUEST / "initrd"),
                   boot_args="console=ttyS0 quiet")
    own = V.Drive(drive_id="own", template_id=TEMPLATE)
    drives = [[V.Drive(drive_id="data", path=str(disk)), own] for disk in disks]
    small = V.VmSpec(machine=V.Machine(memory_mib=16, track_dirty_pages=True), boot=guest, drives=drives[0],
                     network_interfaces=network, egress=policy(80))
    emulated = V.VmSpec(machine=V.Machine(memory_mib=128), boot=linux, drives=drives[0],
                        network_interfaces=network, egress=policy(80))
    jailed = (*routed, *no_qemu, "--firecracker-binary", FIRECRACKER or "", "--jailer-binary", JAILER or "",
              "--jailer-cgroup", GROUP)
    missing = "" if FIRECRACKER and JAILER else "no firecracker and jailer on PATH"
    return (
        Life("in_memory", "in_memory", (*no_qemu, *no_firecracker),
             steps_of(V.VmSpec(network_interfaces=network, egress=policy(80)), labels,
                      names=("create", "adopt", "update", "egress", "snapshot", "pause", "resume",
                             "stop", "start", "destroy"))),
        Life("firecracker", "firecracker", jailed,
             steps_of(small, labels, ("drives", V.VmSpec(drives=drives[1])), template=template),
             missing),
        Life("clones", "firecracker", jailed,
             steps_of(V.VmSpec(machine=V.Machine(memory_mib=16), boot=guest, drives=[drives[0][0]],
                               network_interfaces=network, egress=policy(80)),
                      names=("create", "adopt", "snapshot", "destroy"), restores=True), missing),
        # No agent tries for long whether there is KVM.
        Life("qemu", "qemu", (*routed, *no_firecracker, "--jailer-cgroup", GROUP, "--qemu-accelerator", "tcg"),
             steps_of(emulated, labels, template=template)),
        Life("iptables", "firecracker", (*jailed, "--network-enforcement", "iptables"),
             steps_of(small, names=("create", "adopt", "egress", "destroy"), template=template),
             missing),
    )
