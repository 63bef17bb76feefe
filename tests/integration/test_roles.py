# SPDX-License-Identifier: Apache-2.0
"""Roles of foreign clients by their certificates, tried on every RPC there is; and the audit log."""

import grpc

from harness import Code, E, G, I, N, S, V, wait_until
from test_tls import TlsTest, credentials

VIEWER = {
    "VmService": "GetVm ListVms WatchVms WaitVm ListVmEvents DiagnoseVm ReadConsole GetVmMetrics",
    "NodeService": "GetNode WatchNode Doctor",
    "EgressService": "GetEgressPolicy ExplainEgress WatchEgress",
    "ImageService": "ListTemplates GetTemplate",
    "SnapshotService": "GetSnapshot ListSnapshots WatchSnapshots",
    "GuestService": "",
}
OPERATOR = {
    "VmService": "CreateVm StartVm StopVm PauseVm ResumeVm DestroyVm UpdateVm",
    "NodeService": "",
    "EgressService": "SetEgressPolicy",
    "ImageService": "VerifyTemplate",
    "SnapshotService": "CreateSnapshot DeleteSnapshot VerifySnapshot FlattenSnapshot",
    "GuestService": "Ping SetEnv SetSecret Run Exec",
}
ADMIN = {
    "NodeService": "Cordon Uncordon Drain",
    "ImageService": "ImportTemplate DeleteTemplate",
}
ROLES = ("viewer", "operator", "admin")


def services():
    """name, method descriptor: of every service of the contract."""
    for module in V, N, E, G, I, S:
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                yield service.name, method


def needed(service, method):
    found = [role for role, table in zip(ROLES, (VIEWER, OPERATOR, ADMIN))
             if method in table.get(service, "").split()]
    assert len(found) == 1, "%s.%s needs %s" % (service, method, found)
    return ROLES.index(found[0])


class RolesTest(TlsTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.audit = cls.daemon.folder / "audit.log"
        cls.pairs = {role: cls.authority.client(role, alternatives="DNS:other.org,DNS:%s.org" % role)
                     for role in ROLES}
        cls.pairs["stranger"] = cls.authority.client("stranger", alternatives="DNS:stranger.org")
        cls.daemon.flags += [
            "--roles-viewer", "dns:viewer.org,uri:spiffe://example.org/*", "--roles-operator",
            "dns:operator.org", "--roles-admin", "dns:admin.org", "--audit-file", str(cls.audit)]
        cls.daemon.terminate()
        cls.daemon.start()

    def outcome(self, channel, service, method):
        """The code of a call with a request that has nothing in it, if it ends soon."""
        path = "/hearth.v1.%s/%s" % (service, method.name)
        make = getattr(channel, "%s_%s" % ("stream" if method.client_streaming else "unary",
                                           "stream" if method.server_streaming else "unary"))
        try:
            call = make(path)(iter([b""]) if method.client_streaming else b"", timeout=1)
            if method.server_streaming:
                next(call)
                call.cancel()
            return Code.OK
        except StopIteration:
            return Code.OK
        except grpc.RpcError as error:
            return error.code()

    def channel_of(self, who):
        channel = grpc.secure_channel(self.daemon.tcp, credentials(self.authority, self.pairs[who]),
                                      options=[("grpc.use_local_subchannel_pool", 1)])
        self.addCleanup(channel.close)
        return channel

    def test_every_rpc_is_for_its_role_and_those_above(self):
        tried = 0
        for rank, who in enumerate(("stranger", *ROLES), -1):
            channel = self.channel_of(who)
            for service, method in services():
                with self.subTest(who=who, method=method.name):
                    denied = self.outcome(channel, service, method) == Code.PERMISSION_DENIED
                    self.assertEqual(rank < needed(service, method.name), denied)
                    tried += 1
        self.assertGreater(tried, 4 * 40)

    def test_it_is_said_who_lacks_what(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.channel_of("viewer").unary_unary("/hearth.v1.VmService/StopVm")(b"", timeout=20)

        self.assertEqual("forbidden: /hearth.v1.VmService/StopVm needs the role operator, and "
                         "dns:other.org has viewer", caught.exception.details())

    def test_health_is_for_everybody_and_the_unix_socket_of_root_for_all(self):
        health = self.channel_of("stranger").unary_unary("/grpc.health.v1.Health/Check")
        self.assertEqual(b"\x08\x01", health(b"", timeout=20))
        self.node.Cordon(N.CordonRequest(owner="test", reason="tried"), timeout=20)
        self.node.Uncordon(N.UncordonRequest(owner="test"), timeout=20)

    def test_calls_that_change_something_are_in_the_audit_log_and_no_secret_is(self):
        vm_id = self.new_id()
        self.vms.CreateVm(V.CreateVmRequest(vm_id=vm_id, spec=V.VmSpec()), timeout=20, metadata=(
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("x-request-id", "mine-1")))
        with self.assertRaises(grpc.RpcError):
            self.daemon.client.guest.SetSecret(G.SetSecretRequest(
                vm_id=vm_id, name="token", data=b"much-too-secret"), timeout=20)
        self.outcome(self.channel_of("viewer"), "VmService",
                     V.DESCRIPTOR.services_by_name["VmService"].methods_by_name["DestroyVm"])
        self.get(vm_id)

        lines = wait_until(
            lambda: [line for line in self.audit.read_text().splitlines()] if
            "DestroyVm" in self.audit.read_text() else None, "the audit log has all of it")
        self.assertTrue(all("event=audit" in line for line in lines))
        self.assertTrue(any("principal=uid:0" in line and "VmService/CreateVm" in line and
                            "vm_id=" + vm_id in line and "code=OK" in line and
                            "trace_id=0af7651916cd43dd8448eb211c80319c" in line and
                            "request_id=mine-1" in line for line in lines))
        self.assertTrue(any("principal=dns:other.org" in line and "DestroyVm" in line and
                            "code=PERMISSION_DENIED" in line for line in lines))
        self.assertTrue(any("SetSecret" in line for line in lines))
        self.assertFalse(any("GetVm" in line or "much-too-secret" in line for line in lines))
        self.assertEqual(0o600, self.audit.stat().st_mode & 0o777)
