# SPDX-License-Identifier: Apache-2.0
"""What the integration and end-to-end tests share: a hearthd of their own, and foreign clients.

Stubs are generated from proto/ by grpcio-tools when this module is first imported.
"""

import atexit
import contextlib
import itertools
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = pathlib.Path(os.environ.get("HEARTH_PROGRAMS", ROOT / "build/gcc/bin"))
CACHE = pathlib.Path(os.environ.get("HEARTH_CACHE", pathlib.Path.home() / ".cache/hearth"))
GUEST = pathlib.Path(os.environ.get("HEARTH_GUEST", CACHE / "guest"))
GRPCURL = CACHE / "bin/grpcurl"
# The service that hearthd has of systemd, where that is process 1, would outlive the tests.
LAUNCHER = ("--launcher", "cgroup") if os.path.exists("/run/systemd/system") else ()


def _generate_stubs():
    folder = tempfile.mkdtemp(prefix="hearth-stubs.")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    wkt = pathlib.Path(protoc.__file__).parent / "_proto"
    code = protoc.main(["protoc", "-I%s" % (ROOT / "proto"), "-I%s" % wkt,
                        "--python_out=" + folder, "--grpc_python_out=" + folder,
                        "hearth/v1/vm.proto", "hearth/v1/node.proto", "hearth/v1/egress.proto",
                        "hearth/v1/guest.proto", "hearth/v1/image.proto", "hearth/v1/snapshot.proto"])
    assert code == 0, "the contract does not compile"
    sys.path.insert(0, folder)


_generate_stubs()

from hearth.v1 import (egress_pb2, egress_pb2_grpc, guest_pb2, guest_pb2_grpc, image_pb2,  # noqa: E402
                       image_pb2_grpc, node_pb2, node_pb2_grpc, snapshot_pb2, snapshot_pb2_grpc,
                       vm_pb2, vm_pb2_grpc)

Code = grpc.StatusCode
V = vm_pb2
N = node_pb2
E = egress_pb2
G = guest_pb2
I = image_pb2
S = snapshot_pb2
_numbers = itertools.count(1)


def wait_until(condition, what, seconds=30):
    """Until condition() is true, which is answered; fails after so long, generously."""
    end = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError("never came true: " + what)
        time.sleep(0.02)


def process_alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def memory_kib(pid, key="VmRSS"):
    with open("/proc/%d/status" % pid) as status:
        for line in status:
            if line.startswith(key + ":"):
                return int(line.split()[1])
    raise AssertionError("no %s" % key)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Failure:
    """What a client sees of a failed call."""

    def __init__(self, error):
        self.code = error.code()
        self.message = error.details()
        self.reason = self.domain = None
        self.metadata = {}
        self.violations = {}
        self.resource = self.precondition = self.retry_info = None
        status = rpc_status.from_call(error)
        self.has_details = status is not None
        for any_detail in status.details if status else ():
            self._take(any_detail)

    def _take(self, any_detail):
        info = error_details_pb2.ErrorInfo()
        bad = error_details_pb2.BadRequest()
        resource = error_details_pb2.ResourceInfo()
        precondition = error_details_pb2.PreconditionFailure()
        retry = error_details_pb2.RetryInfo()
        if any_detail.Unpack(info):
            self.reason, self.domain = info.reason, info.domain
            self.metadata = dict(info.metadata)
        elif any_detail.Unpack(bad):
            for violation in bad.field_violations:
                self.violations.setdefault(violation.field, []).append(violation.description)
        elif any_detail.Unpack(resource):
            self.resource = resource
        elif any_detail.Unpack(precondition):
            self.precondition = precondition
        elif any_detail.Unpack(retry):
            self.retry_info = retry

    def __repr__(self):
        return "%s %s %r %s %s" % (self.code, self.reason, self.message, self.metadata,
                                   self.violations)


class Client:
    """Stubs over one connection."""

    def __init__(self, address, **options):
        arguments = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0),
                     ("grpc.max_send_message_length", -1),
                     ("grpc.initial_reconnect_backoff_ms", 100),
                     ("grpc.max_reconnect_backoff_ms", 200)]
        self.channel = grpc.insecure_channel(address, options=arguments, **options)
        self.vms = vm_pb2_grpc.VmServiceStub(self.channel)
        self.node = node_pb2_grpc.NodeServiceStub(self.channel)
        self.egress = egress_pb2_grpc.EgressServiceStub(self.channel)
        self.guest = guest_pb2_grpc.GuestServiceStub(self.channel)
        self.images = image_pb2_grpc.ImageServiceStub(self.channel)
        self.snapshots = snapshot_pb2_grpc.SnapshotServiceStub(self.channel)

    def raw(self, method, data, service="hearth.v1.VmService", timeout=20):
        """Sends bytes as they are; answers bytes."""
        return self.channel.unary_unary("/%s/%s" % (service, method))(data, timeout=timeout)

    def close(self):
        self.channel.close()


class Hearthd:
    """A hearthd with a state directory of its own, until close()."""

    def __init__(self, *flags, backend="in_memory", tcp=False, prefix=()):
        self.prefix = list(prefix)  # of the command line, such as nsenter's
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="hearth-test."))
        self.state = self.folder / "state"
        self.socket = self.folder / "hearth.sock"
        self.address = "unix:%s" % self.socket
        self.flags = ["--backend", backend, *flags]
        if tcp:
            self.tcp = "127.0.0.1:%d" % free_port()
            self.flags += ["--listen", self.tcp]
        self.log_path = self.folder / "hearthd.log"
        self.process = None
        self.clients = []

    def command(self, *flags):
        return [*self.prefix, str(PROGRAMS / "hearthd"), "--state-dir", str(self.state),
                "--listen", self.address, *LAUNCHER, *self.flags, *flags]

    def start(self, wait=True):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, start_new_session=True)
        # grpcio is slow to try again what once was refused.
        wait_until(self._accepts, "hearthd listens")
        self.use_new_client()
        if wait:
            self.wait_adopted()
        return self

    def _accepts(self):
        assert self.process.poll() is None, "hearthd ended: " + self.log()
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def wait_adopted(self):
        wait_until(self._adopted, "hearthd has adopted its VMs", 60)

    def _adopted(self):
        assert self.process.poll() is None, "hearthd ended: " + self.log()
        try:
            node = self.node.GetNode(N.GetNodeRequest(), timeout=2)
        except grpc.RpcError as error:
            # Now and then grpcio leaves unread what a connection made just now has brought, and
            # waits for it for long.
            if rpc_status.from_call(error) is None and time.monotonic() > self.connected + 1:
                self.use_new_client()
            return False
        return any(condition.type == "Adopted" and condition.status == V.CONDITION_STATUS_TRUE
                   for condition in node.status.conditions)

    def use_new_client(self):
        self.connected = time.monotonic()
        self.client = self.connect()
        self.vms, self.node = self.client.vms, self.client.node
        self.images, self.snapshots = self.client.images, self.client.snapshots

    def connect(self, address=None, **options):
        client = Client(address or self.address, **options)
        self.clients.append(client)
        return client

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        try:
            return "".join(self.log_path.read_text(errors="replace").splitlines(True)[-40:])
        except OSError:
            return ""

    def kill(self):
        self.process.kill()
        self.process.wait()

    def terminate(self, timeout=40):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def restart(self):
        self.kill()
        return self.start()

    def run_dir(self, vm):
        """Where the VM's processes and hearthd meet."""
        found = [path for path in (self.state / "vms").rglob("*" + vm.status.resolved.instance_id + "*")
                 if path.is_dir()]
        assert len(found) == 1, "run directory of %s: %s" % (vm.vm_id, found)
        return found[0]

    def destroy_all(self):
        while vms := self.vms.ListVms(V.ListVmsRequest(page_size=1000), timeout=20).vms:
            for vm in vms:
                self.vms.DestroyVm(V.DestroyVmRequest(vm_id=vm.vm_id, allow_missing=True),
                                   timeout=60)

    def close(self):
        if self.process and self.process.poll() is None:
            with contextlib.suppress(grpc.RpcError):
                self.destroy_all()
        for client in self.clients:
            client.close()
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class DaemonTest(unittest.TestCase):
    """Tests that share one hearthd; ids are unique to the test."""

    backend = "in_memory"
    flags = ()
    tcp = False
    prefix = ()

    @classmethod
    def setUpClass(cls):
        cls.daemon = Hearthd(*cls.flags, backend=cls.backend, tcp=cls.tcp, prefix=cls.prefix)
        cls.addClassCleanup(cls.daemon.close)
        cls.daemon.start()

    def setUp(self):
        self.begin = self.daemon.log_path.stat().st_size
        self.addCleanup(self.show_log)

    def show_log(self):
        outcome = self._outcome
        result = getattr(outcome, "result", None)
        failed = result and any(test is self for test, _ in result.failures + result.errors)
        if failed or self.daemon.process.poll() is not None:
            with open(self.daemon.log_path, errors="replace") as log:
                log.seek(self.begin)
                print("hearthd said:\n" + log.read()[-6000:], flush=True)

    @property
    def vms(self):
        return self.daemon.vms

    @property
    def node(self):
        return self.daemon.node

    def new_id(self):
        return "vm-%d-%d" % (os.getpid(), next(_numbers))

    def spec(self, **fields):
        return V.VmSpec(**fields)

    def create(self, vm_id=None, timeout=60, uid="", tenant="", **spec):
        request = V.CreateVmRequest(vm_id=vm_id or self.new_id(), uid=uid, tenant=tenant,
                                    spec=self.spec(**spec))
        return self.vms.CreateVm(request, timeout=timeout)

    def running(self, vm_id=None, **spec):
        vm = self.create(vm_id, desired_state=V.DESIRED_STATE_RUNNING, **spec)
        self.assertEqual(V.VM_STATE_RUNNING, vm.status.state)
        return vm

    def get(self, vm_id):
        return self.vms.GetVm(V.GetVmRequest(vm_id=vm_id), timeout=20)

    def wait_state(self, vm_id, *states, timeout=60):
        return self.vms.WaitVm(V.WaitVmRequest(vm_id=vm_id, states=states), timeout=timeout)

    def ctl(self, *arguments, check=True):
        """hearthctl; with @check it must not fail."""
        result = subprocess.run(
            [str(PROGRAMS / "hearthctl"), "--address", self.daemon.address, *arguments],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        if check:
            self.assertEqual(0, result.returncode, result.stderr)
        return result

    def revision(self):
        return self.vms.ListVms(V.ListVmsRequest(page_size=1), timeout=20).revision

    def refused(self, call, request, code, reason=None, timeout=20):
        """The call fails so, with details; answers the Failure."""
        with self.assertRaises(grpc.RpcError) as caught:
            answer = call(request, timeout=timeout)
            if hasattr(answer, "__next__"):
                for _ in answer:
                    pass
        failure = Failure(caught.exception)
        self.assertEqual(code, failure.code, failure)
        if reason:
            self.assertEqual(reason, failure.reason, failure)
            self.assertEqual("hearth.v1", failure.domain)
        return failure

    def refused_raw(self, method, data, code, reason=None, client=None):
        client = client or self.daemon.client
        return self.refused(lambda request, timeout: client.raw(method, request, timeout=timeout),
                            data, code, reason)

    def assert_serves(self):
        """A new client is answered."""
        client = self.daemon.connect()
        client.node.GetNode(N.GetNodeRequest(), timeout=20)
        client.close()
