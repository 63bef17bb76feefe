# SPDX-License-Identifier: Apache-2.0
"""TLS and mutual TLS as foreign clients see them: right, wrong, expired and exchanged certificates."""

import os
import shutil
import socket
import ssl
import tempfile
import threading
import time

import grpc

from authority import Authority
from harness import Code, DaemonTest, Hearthd, N, S, V, memory_kib, wait_until

SPIFFE = "spiffe://example.org/ns/control/sa/planner"
MANY = 1000


def credentials(authority, pair=None):
    certificate, key = pair or (None, None)
    return grpc.ssl_channel_credentials(
        authority.certificate.read_bytes(), key.read_bytes() if key else None,
        certificate.read_bytes() if certificate else None)


class TlsTest(DaemonTest):
    tcp = True
    client_ca = True

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="hearth-tls.")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.authority = Authority(cls.folder)
        cls.pair = cls.authority.server()
        cls.mine = cls.authority.client(alternatives="URI:%s,DNS:planner.example.org" % SPIFFE)
        cls.flags = ("--tls-certificate", str(cls.pair[0]), "--tls-key", str(cls.pair[1]))
        if cls.client_ca:
            cls.flags += ("--tls-client-ca", str(cls.authority.certificate))
        super().setUpClass()

    def open_channel(self, pair=None, authority=None, **options):
        return grpc.secure_channel(
            self.daemon.tcp, credentials(authority or self.authority, pair),
            options=[("grpc.use_local_subchannel_pool", 1), *options.items()])

    def channel(self, *arguments, **options):
        channel = self.open_channel(*arguments, **options)
        self.addCleanup(channel.close)
        return channel

    def node_of(self, channel, timeout=20):
        return channel.unary_unary(
            "/hearth.v1.NodeService/GetNode", request_serializer=N.GetNodeRequest.SerializeToString,
            response_deserializer=N.Node.FromString)(N.GetNodeRequest(), timeout=timeout)

    def assert_refused(self, channel):
        with self.assertRaises(grpc.RpcError) as caught:
            self.node_of(channel, timeout=3)
        self.assertIn(caught.exception.code(), (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED))

    def raw(self, pair=None, protocols=("h2",), **settings):
        """A connection of Python's own; @settings are of its SSLContext."""
        context = ssl.create_default_context(cafile=self.authority.certificate)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        if pair:
            context.load_cert_chain(*pair)
        for name, value in settings.items():
            setattr(context, name, value)
        host, port = self.daemon.tcp.split(":")
        plain = socket.create_connection((host, int(port)), timeout=20)
        self.addCleanup(plain.close)
        return context.wrap_socket(plain, server_hostname="localhost")

    def logged(self, *words):
        return lambda: any(all(word in line for word in words)
                           for line in self.daemon.log_path.read_text(errors="replace").splitlines())


class MutualTest(TlsTest):
    def test_who_shows_a_certificate_is_known_by_its_name(self):
        node = self.node_of(self.channel(self.mine))

        self.assertEqual(node.node_id, self.node.GetNode(N.GetNodeRequest(), timeout=20).node_id)
        wait_until(self.logged("GetNode", "principal=uri:" + SPIFFE), "the log tells who asked")
        listed = self.ctl_tcp("list", pair=self.mine)
        self.assertEqual(0, listed.returncode, listed.stderr)

    def ctl_tcp(self, *arguments, pair=None, authority=None):
        flags = ["--address", self.daemon.tcp.replace("127.0.0.1", "localhost"), "--timeout", "5s",
                 "--tls-ca", str((authority or self.authority).certificate)]
        if pair:
            flags += ["--tls-certificate", str(pair[0]), "--tls-key", str(pair[1])]
        return self.ctl(*flags, *arguments, check=False)

    def test_a_name_alone_is_the_holders_if_there_is_no_other(self):
        self.node_of(self.channel(self.authority.client("only-a-name")))

        wait_until(self.logged("principal=cn:only-a-name"), "the log tells who asked")

    def test_those_who_show_none_or_a_wrong_one_are_refused(self):
        other = Authority(self.folder, "other")
        wrong = {
            "nothing": None,
            "another authority's": other.client("stranger", alternatives="URI:" + SPIFFE),
            "a server's": self.authority.server("no-client"),
            "one that is over": self.authority.client("late", dates=("-days", "-1")),
        }

        for what, pair in wrong.items():
            with self.subTest(what):
                self.assert_refused(self.channel(pair))
        wait_until(self.logged("tls refused", "error="), "the log tells of it")
        self.assertNotEqual(0, self.ctl_tcp("list").returncode)
        self.assertNotEqual(0, self.ctl_tcp("list", pair=self.mine, authority=other).returncode)
        self.node_of(self.channel(self.mine))

    def test_what_is_not_tls_or_not_http_2_is_refused(self):
        with grpc.insecure_channel(self.daemon.tcp) as channel:
            self.assert_refused(channel)
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            self.raw(self.mine, protocols=("http/1.1",)).recv(1)
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            self.raw(self.mine, minimum_version=ssl.TLSVersion.TLSv1,
                     maximum_version=ssl.TLSVersion.TLSv1_1).recv(1)
        self.assertEqual("h2", self.raw(self.mine).selected_alpn_protocol())
        self.assertEqual("TLSv1.2", self.raw(self.mine, maximum_version=ssl.TLSVersion.TLSv1_2)
                         .version())

    def test_certificates_are_exchanged_while_calls_go_on(self):
        def serial():
            with self.raw(self.mine) as connection:
                return connection.getpeercert()["serialNumber"]

        old = serial()
        held = self.channel(self.mine)
        watch = held.unary_stream(
            "/hearth.v1.VmService/WatchVms",
            request_serializer=V.WatchVmsRequest.SerializeToString,
            response_deserializer=V.WatchVmsResponse.FromString)(
                V.WatchVmsRequest(send_initial=True), timeout=120)
        next(watch)
        stop, failed, done = threading.Event(), [], [0]

        def call_on():
            channel = self.channel(self.mine)
            while not stop.is_set():
                try:
                    self.node_of(channel)
                    with self.open_channel(self.mine) as once:
                        self.node_of(once)
                    done[0] += 2
                except grpc.RpcError as error:
                    failed.append(error)

        callers = [threading.Thread(target=call_on) for _ in range(4)]
        for caller in callers:
            caller.start()
        certificate, key = self.authority.server("next")
        os.replace(certificate, self.pair[0])
        time.sleep(1.5)  # they do not belong together meanwhile
        self.assertEqual(old, serial())
        os.replace(key, self.pair[1])
        try:
            wait_until(lambda: serial() != old, "new connections see the new certificate")
        finally:
            stop.set()
            for caller in callers:
                caller.join()

        self.assertEqual([], failed)
        self.assertGreater(done[0], 10)
        vm = self.create()
        self.assertIn(vm.vm_id, [event.vm.vm_id for event in next(watch).events])
        watch.cancel()
        self.assertTrue(self.logged("tls files refused", "tls.key")())
        self.assertTrue(self.logged("tls files reloaded")())

    def test_who_does_not_shake_hands_is_cut_off_and_costs_nobody_anything(self):
        host, port = self.daemon.tcp.split(":")
        silent = [socket.create_connection((host, int(port)), timeout=30) for _ in range(50)]
        for connection in silent:
            self.addCleanup(connection.close)
            connection.sendall(b"\x16\x03\x01")

        self.node_of(self.channel(self.mine), timeout=5)

        for connection in silent:
            self.assertEqual(b"", connection.recv(1))
        self.assertTrue(self.logged("tls refused", "took too long")())

    def test_much_passes_both_ways(self):
        channel = self.channel(self.mine, **{"grpc.max_receive_message_length": -1})
        labels = {"k%02d" % i: "x" * 250 for i in range(60)}
        for _ in range(200):
            self.create(labels=labels)
        listed = channel.unary_unary(
            "/hearth.v1.VmService/ListVms", request_serializer=V.ListVmsRequest.SerializeToString,
            response_deserializer=V.ListVmsResponse.FromString)(
                V.ListVmsRequest(page_size=1000), timeout=60)
        self.assertGreater(listed.ByteSize(), 3_000_000)
        self.assertIn(labels, [dict(vm.spec.labels) for vm in listed.vms])
        create = channel.unary_unary(
            "/hearth.v1.VmService/CreateVm", request_serializer=V.CreateVmRequest.SerializeToString,
            response_deserializer=V.Vm.FromString)
        for _ in range(20):
            with self.assertRaises(grpc.RpcError) as caught:
                create(V.CreateVmRequest(vm_id=self.new_id(), spec=V.VmSpec(
                    labels={"k%02d" % i: "y" * 15000 for i in range(64)})), timeout=60)
            self.assertEqual(Code.INVALID_ARGUMENT, caught.exception.code())


class CrowdTest(TlsTest):
    """Many who are connected and silent, and one who is not."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()

    def test_idle_connections_are_cheap_and_in_nobodys_way(self):
        daemon = Hearthd(*self.flags, "--limits-max-connections", str(2 * MANY), tcp=True)
        self.addCleanup(daemon.close)
        daemon.start()
        before = memory_kib(daemon.pid)
        self.daemon, mine = daemon, self.daemon
        self.addCleanup(setattr, self, "daemon", mine)
        idle = [self.raw(self.mine) for _ in range(MANY)]

        begun = time.monotonic()
        for _ in range(20):
            self.node_of(self.channel(self.mine))
        each = (time.monotonic() - begun) / 20
        grown = memory_kib(daemon.pid) - before
        print("%d idle TLS connections: %d KiB each; a new connection and a call beside them: %.1f ms"
              % (MANY, grown // MANY, each * 1000), flush=True)

        self.assertLess(grown // MANY, 256)
        for connection in idle:
            connection.close()


class ServerOnlyTest(TlsTest):
    client_ca = False

    def test_without_an_authority_of_clients_any_may_come(self):
        self.node_of(self.channel())

        wait_until(self.logged("principal=tls:127.0.0.1"), "the log tells where from")

    def test_files_that_are_wrong_are_named_at_the_start(self):
        certificate, key = map(str, self.pair)
        other = str(self.authority.server("another")[1])
        junk = os.path.join(self.folder, "junk")
        with open(junk, "w", encoding="ascii") as file:
            file.write("no PEM\n")
        for flags, words in (
                ((certificate, "/nowhere"), ("tls.key", "/nowhere", "No such file")),
                ((certificate, other), ("tls.key", "mismatch")),
                ((junk, key), ("tls.certificate", "no start line"))):
            daemon = Hearthd("--tls-certificate", flags[0], "--tls-key", flags[1], tcp=True)
            self.addCleanup(daemon.close)
            with self.assertRaises(AssertionError) as caught:
                daemon.start()
            for word in words:
                self.assertIn(word, str(caught.exception))
