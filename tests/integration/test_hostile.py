# SPDX-License-Identifier: Apache-2.0
"""Clients that mean harm or know no better: bytes that no library would send, and too many of them.

Every request is refused by name, or answered, and the agent goes on serving the others. Bounds on
memory are a few times what was measured, far below what the attack asks for.
"""

import contextlib
import os
import resource
import socket
import time

import grpc
import h2.config
import h2.connection
import h2.exceptions

from harness import Client, Code, DaemonTest, Failure, Hearthd, N, V, memory_kib, wait_until

MIB = 1024 * 1024


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out + bytes([number]))


def tag(field, wire):
    return varint(field << 3 | wire)


def text(field, data):
    data = data.encode() if isinstance(data, str) else data
    return tag(field, 2) + varint(len(data)) + data


def number(field, value):
    return tag(field, 0) + varint(value % 2**64)


# CreateVmRequest and VmSpec, by field number.
VM_ID, SPEC = 1, 4
BACKEND, LABELS, MACHINE, BOOT, DRIVES, RESTART = 1, 3, 4, 5, 6, 12


def label(key, value):
    return text(LABELS, text(1, key) + text(2, value))


def descriptors(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


class Encodings(DaemonTest):
    def setUp(self):
        super().setUp()
        self.before = self.revision()

    def tearDown(self):
        self.assertEqual(self.before, self.revision(), "something was created")
        self.assert_serves()

    def create_raw(self, *parts, code=Code.INVALID_ARGUMENT, reason="INVALID_REQUEST"):
        return self.refused_raw("CreateVm", text(VM_ID, self.new_id()) + b"".join(parts), code,
                                reason)

    def assert_names(self, failure, field):
        self.assertTrue(any(field in name for name in failure.violations), failure)

    def test_bytes_that_are_no_message(self):
        for data in (b"\xff\xff\xff\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x05ab", b"\x00\x00",
                     b"\x0f", b"\x0c", b"\x80" * 11, text(0, b"x"), tag(1, 0), tag(1, 7) + b"x"):
            with self.subTest(data):
                self.refused_raw("CreateVm", data, Code.INVALID_ARGUMENT, "INVALID_REQUEST")
                self.refused_raw("GetVm", data, Code.INVALID_ARGUMENT, "INVALID_REQUEST")

    def test_two_mebibytes(self):
        self.refused_raw("CreateVm", text(VM_ID, b"a" * (2 * MIB)), Code.RESOURCE_EXHAUSTED)

    def test_ids_that_are_paths_and_other_nonsense(self):
        for vm_id in ("../../etc/passwd", "..", ".", "", "A", "a" * 64, "a/b", "-a", "a-", "a\n",
                      "a b", "é", "a%2f", "a_b", "a.b"):
            with self.subTest(vm_id):
                for method in ("CreateVm", "GetVm", "StartVm", "DestroyVm", "ListVmEvents"):
                    failure = self.refused_raw(method, text(VM_ID, vm_id), Code.INVALID_ARGUMENT,
                                               "INVALID_REQUEST")
                    self.assert_names(failure, "vm_id")

    def test_enum_values_that_are_none(self):
        for value in (4, 99, 2**31, 2**64 - 1):
            with self.subTest(value):
                failure = self.create_raw(text(SPEC, number(BACKEND, value)))
                self.assert_names(failure, "spec.backend")
        self.assert_names(self.create_raw(text(SPEC, text(RESTART, number(1, 9)))),
                          "spec.restart_policy.mode")
        self.assert_names(self.create_raw(number(6, 9)), "return_when")

    def test_a_mutation_with_an_unknown_field_is_refused_with_its_number(self):
        for parts in ((number(999, 1),), (text(SPEC, text(15, b"x")),),
                      (text(SPEC, text(MACHINE, number(77, 1))),),
                      (text(SPEC, text(LABELS, text(1, "k") + text(2, "v") + text(77, "x"))),)):
            failure = self.create_raw(*parts, reason="UNKNOWN_FIELD")
            self.assertRegex(failure.message + repr(failure.violations), "999|77|15")

    def test_a_read_with_an_unknown_field_is_answered(self):
        self.daemon.client.raw("ListVms", number(999, 1) + text(998, b"x" * 100))

    def test_numbers_at_their_ends(self):
        for value in (2**64 - 1, 2**63, 2**63 - 1):
            with self.subTest(value):
                self.assert_names(self.create_raw(text(SPEC, text(MACHINE, number(2, value)))),
                                  "spec.machine.memory_mib")
        self.assert_names(self.create_raw(text(SPEC, text(MACHINE, number(1, 2**32 - 1)))),
                          "spec.machine.vcpus")
        self.assert_names(self.create_raw(text(SPEC, text(RESTART, number(2, 2**32 - 1)))),
                          "spec.restart_policy.max_restarts")

    def test_times_at_their_ends(self):
        for seconds, nanos in ((2**63 - 1, 0), (-2**63, 0), (253402300800, 0), (1, -1),
                               (1, 10**9), (1, 2**31 - 1)):
            with self.subTest(seconds=seconds, nanos=nanos):
                stamp = number(1, seconds) + number(2, nanos)
                self.assert_names(self.create_raw(text(SPEC, text(13, stamp))), "spec.expires_at")
                self.assert_names(self.create_raw(text(SPEC, text(RESTART, text(3, stamp)))),
                                  "spec.restart_policy.initial_backoff")

    def test_ends_of_numbers_in_reads(self):
        self.refused_raw("StopVm", text(VM_ID, "nobody") + number(3, 2**64 - 1), Code.NOT_FOUND,
                         "VM_NOT_FOUND")
        self.refused_raw("ReadConsole", text(VM_ID, "nobody") + number(3, 2**64 - 1),
                         Code.INVALID_ARGUMENT, "INVALID_REQUEST")
        self.refused_raw("ListVms", number(4, 2**64 - 1), Code.INVALID_ARGUMENT, "INVALID_REQUEST")

    def test_a_thousand_labels(self):
        failure = self.create_raw(text(SPEC, b"".join(label("k%d" % i, "v") for i in range(1000))))

        self.assert_names(failure, "spec.labels")

    def test_labels_that_are_out_of_bounds(self):
        for key, value in (("", "v"), ("k" * 64, "v"), ("k y", "v"), ("k", "v" * 256)):
            with self.subTest(key[:5]):
                self.assert_names(self.create_raw(text(SPEC, label(key, value))), "spec.labels")

    def test_a_label_given_twice(self):
        failure = self.create_raw(text(SPEC, label("a", "1") + label("a", "2")))

        self.assert_names(failure, "spec.labels")

    def test_a_message_given_twice(self):
        self.create_raw(text(SPEC, text(MACHINE, number(1, 1))) + text(SPEC, b""))
        self.create_raw(text(SPEC, text(BOOT, b"") + text(BOOT, b"")))

    def test_a_hundred_thousand_messages_that_merge(self):
        began = memory_kib(self.daemon.pid)

        self.create_raw(text(SPEC, b"") * 100000)

        self.assertLess(memory_kib(self.daemon.pid) - began, 64 * 1024)

    def test_a_flood_of_elements(self):
        began = memory_kib(self.daemon.pid)

        self.create_raw(text(SPEC, text(DRIVES, b"") * 500000))
        self.create_raw(text(SPEC, text(LABELS, b"") * 500000))
        self.refused_raw("WatchVms", text(5, b"") * 500000, Code.INVALID_ARGUMENT,
                         "INVALID_REQUEST", StreamingClient(self.daemon.client))
        self.refused_raw("ListVms", text(3, b"\x03" * 900000), Code.INVALID_ARGUMENT,
                         "INVALID_REQUEST")

        self.assertLess(memory_kib(self.daemon.pid) - began, 64 * 1024)

    def test_a_flood_of_unknown_fields_in_a_read(self):
        began = memory_kib(self.daemon.pid)

        with contextlib.suppress(grpc.RpcError):
            self.daemon.client.raw("ListVms", number(999, 1) * 300000)

        self.assertLess(memory_kib(self.daemon.pid) - began, 64 * 1024)

    def test_groups_nested_deeply(self):
        depth = 200000

        for method in ("CreateVm", "ListVms"):
            self.refused_raw(method, tag(999, 3) * depth + tag(999, 4) * depth,
                             Code.INVALID_ARGUMENT)

    def test_messages_nested_deeply(self):
        data = b""
        for _ in range(20000):
            data = text(999, data)

        self.create_raw(data, reason="UNKNOWN_FIELD")

    def test_text_with_a_nul_or_that_is_not_utf8(self):
        for bad in (b"a\0b", b"\xff\xfe", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"a\xc3"):
            with self.subTest(bad):
                failure = self.refused_raw("CreateVm", text(VM_ID, bad), Code.INVALID_ARGUMENT,
                                           "INVALID_REQUEST")
                self.assert_names(failure, "vm_id")
                self.create_raw(text(SPEC, label("k", bad)))
                self.create_raw(text(SPEC, label(bad, "v")))
                failure = self.create_raw(text(SPEC, text(BOOT, text(3, bad))))
                self.assert_names(failure, "spec.boot.boot_args")
                self.refused_raw("ListVms", text(2, bad), Code.INVALID_ARGUMENT, "INVALID_REQUEST")

    def test_boot_arguments_that_are_not_printable(self):
        for arguments in ("a\nb", "a\x7f", "ä", "x" * 2048):
            self.assert_names(self.create_raw(text(SPEC, text(BOOT, text(3, arguments)))),
                              "spec.boot.boot_args")

    def test_paths_that_are_not_absolute(self):
        for path in ("relative", "./x", "x/../y"):
            failure = self.create_raw(text(SPEC, text(BOOT, text(1, path))))
            self.assert_names(failure, "spec.boot.kernel_path")

    def test_every_kind_of_wrong_byte_in_a_good_request(self):
        good = V.CreateVmRequest(vm_id="mutant", validate_only=True, spec=V.VmSpec(
            labels={"a": "b"}, machine=V.Machine(vcpus=2), boot=V.Boot(kernel_path="/k"),
            restart_policy=V.RestartPolicy(mode=V.RESTART_MODE_ALWAYS))).SerializeToString()

        for at in range(len(good)):
            for byte in (0x00, 0x7F, 0x80, 0xFF, good[at] ^ 1):
                data = good[:at] + bytes([byte]) + good[at + 1:] + number(5, 1)
                try:
                    self.daemon.client.raw("CreateVm", data)
                except grpc.RpcError as error:
                    self.assertIn(error.code(), (Code.INVALID_ARGUMENT, Code.UNIMPLEMENTED,
                                                 Code.NOT_FOUND), Failure(error))


class StreamingClient:
    """raw() for methods that answer a stream."""

    def __init__(self, client):
        self.client = client

    def raw(self, method, data, timeout=20):
        return list(self.client.channel.unary_stream("/hearth.v1.VmService/" + method)(
            data, timeout=timeout))


class Compression(DaemonTest):
    def test_a_compressed_bomb_is_not_unpacked(self):
        client = self.daemon.connect(compression=grpc.Compression.Gzip)
        began = memory_kib(self.daemon.pid)

        for _ in range(3):
            with self.assertRaises(grpc.RpcError) as caught:
                client.raw("CreateVm", text(VM_ID, bytes(200 * MIB)))

        self.assertIn(caught.exception.code(), (Code.UNIMPLEMENTED, Code.RESOURCE_EXHAUSTED,
                                                Code.INVALID_ARGUMENT))
        self.assertLess(memory_kib(self.daemon.pid, "VmHWM") - began, 64 * 1024)
        self.assert_serves()


class Http2(DaemonTest):
    """HTTP/2 by hand."""

    def connection(self):
        raw = socket.socket(socket.AF_UNIX)
        self.addCleanup(raw.close)
        raw.settimeout(20)
        raw.connect(str(self.daemon.socket))
        h2c = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        h2c.initiate_connection()
        raw.sendall(h2c.data_to_send())
        return raw, h2c

    def headers(self, method="GetVm"):
        return [(":method", "POST"), (":scheme", "http"), (":authority", "localhost"),
                (":path", "/hearth.v1.VmService/" + method), ("te", "trailers"),
                ("content-type", "application/grpc")]

    def test_a_flood_of_resets_costs_bounded_memory_and_stops_nobody(self):
        began = memory_kib(self.daemon.pid)
        request = V.GetVmRequest(vm_id="nobody").SerializeToString()
        frame = b"\0" + len(request).to_bytes(4, "big") + request
        sent = 0

        with contextlib.suppress(OSError, h2.exceptions.ProtocolError):
            for _ in range(10):
                raw, h2c = self.connection()
                for _ in range(2000):
                    stream = h2c.get_next_available_stream_id()
                    h2c.send_headers(stream, self.headers())
                    h2c.send_data(stream, frame[:h2c.local_flow_control_window(stream)],
                                  end_stream=True)
                    h2c.reset_stream(stream)
                    raw.sendall(h2c.data_to_send())
                    sent += 1
        self.assert_serves()

        self.assertGreater(sent, 100)
        self.assertLess(memory_kib(self.daemon.pid, "VmHWM") - began, 256 * 1024)

    def test_noise_instead_of_http2_is_hung_up_on(self):
        for noise in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" + bytes(200), bytes(5000),
                      b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 4000):
            raw = socket.socket(socket.AF_UNIX)
            raw.settimeout(20)
            raw.connect(str(self.daemon.socket))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                raw.sendall(noise)
                while raw.recv(65536):
                    pass
            raw.close()

        self.assert_serves()

    def test_metadata_without_end_is_refused(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.vms.GetVm(V.GetVmRequest(vm_id="nobody"), timeout=20,
                           metadata=[("x-%d" % i, "y" * 1000) for i in range(200)])

        self.assertNotEqual(Code.NOT_FOUND, caught.exception.code())
        self.assert_serves()

    def test_half_open_and_mute_connections_delay_nobody(self):
        mute = []
        for _ in range(200):
            raw = socket.socket(socket.AF_UNIX)
            raw.connect(str(self.daemon.socket))
            mute.append(raw)

        self.assert_serves()

        for raw in mute:
            raw.close()


class UnreadStreams(DaemonTest):
    streams = 1000

    def test_a_thousand_streams_that_nobody_reads_are_bounded_and_delay_nobody(self):
        vm = self.create(labels={"k%d" % i: "v" * 250 for i in range(60)})
        began = memory_kib(self.daemon.pid)
        clients = [self.daemon.connect() for _ in range(20)]
        unread = [clients[i % 20].vms.WatchVms(V.WatchVmsRequest(send_initial=True), timeout=120)
                  for i in range(self.streams)]
        start = self.vms.ListVms(V.ListVmsRequest(), timeout=20)
        reader = self.vms.WatchVms(V.WatchVmsRequest(
            store_id=start.store_id, from_revision=start.revision), timeout=100)

        updates = 100  # of 16 KiB each: 1.6 GiB if all were queued
        for i in range(updates):
            request = V.UpdateVmRequest(vm_id=vm.vm_id)
            request.spec.labels.update(vm.spec.labels)
            request.spec.labels["k0"] = str(i)
            request.update_mask.paths.append("labels")
            self.vms.UpdateVm(request, timeout=30)

        seen = 0
        for message in reader:
            seen += len(message.events)
            if seen == updates:
                break
        peak = memory_kib(self.daemon.pid, "VmHWM") - began
        for call in unread:
            call.cancel()
        self.assertEqual(updates, seen)
        self.assertLess(peak, 700 * 1024)
        print("1000 unread watches, 1.6 GiB of events: %d MiB at most" % (peak // 1024))


def silent_connections(daemon, count):
    """As many connections as come about, of @count tried."""
    held = []
    for _ in range(count):
        raw = socket.socket(socket.AF_UNIX)
        raw.settimeout(1)
        with contextlib.suppress(OSError):
            raw.connect(str(daemon.socket))
        held.append(raw)
    return held


class Descriptors(DaemonTest):
    def test_running_out_of_descriptors_ends_when_connections_do(self):
        resource.prlimit(self.daemon.pid, resource.RLIMIT_NOFILE,
                         (descriptors(self.daemon.pid) + 20, 4096))
        held = silent_connections(self.daemon, 200)
        time.sleep(1)

        for raw in held:
            raw.close()

        def serves():
            client = Client(self.daemon.address)
            try:
                return client.node.GetNode(N.GetNodeRequest(), timeout=5)
            except grpc.RpcError:
                return None
            finally:
                client.close()
        wait_until(serves, "hearthd serves new connections again", 60)


class Limits(DaemonTest):
    flags = ("--limits-max-connections", "8", "--limits-max-vms", "3")

    def test_vms_beyond_the_limit_are_refused_with_the_numbers(self):
        for _ in range(3):
            self.create()

        failure = self.refused(self.vms.CreateVm, V.CreateVmRequest(
            vm_id=self.new_id(), spec=V.VmSpec()), Code.RESOURCE_EXHAUSTED, "CAPACITY")

        self.assertIn("requested 1, available 0", failure.message)
        self.assertEqual("ELSEWHERE", failure.metadata["retry"])

    def test_connections_beyond_the_limit_wait_or_fail_and_those_that_are_there_go_on(self):
        held = silent_connections(self.daemon, 30)

        self.node.GetNode(N.GetNodeRequest(), timeout=20)

        for raw in held:
            raw.close()
        wait_until(self.new_client_served, "a new client is served again", 60)

    def new_client_served(self):
        client = Client(self.daemon.address)
        try:
            return client.node.GetNode(N.GetNodeRequest(), timeout=5)
        except grpc.RpcError:
            return None
        finally:
            client.close()


class Leavers(DaemonTest):
    def test_a_killed_client_in_the_middle_of_its_calls_leaves_nothing_behind(self):
        daemon = Hearthd()
        self.addCleanup(daemon.close)
        daemon.start()
        before = descriptors(daemon.pid)

        for _ in range(20):
            client = Client(daemon.address)
            calls = [client.vms.WatchVms(V.WatchVmsRequest(send_initial=True)) for _ in range(20)]
            next(calls[0])
            client.close()

        wait_until(lambda: descriptors(daemon.pid) <= before + 2, "its descriptors are closed again")
