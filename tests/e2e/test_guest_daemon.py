# SPDX-License-Identifier: Apache-2.0
"""hearth-guest in a real guest, asked through the API."""

import concurrent.futures
import time

import grpc
from google.protobuf import duration_pb2

from harness import Code, Failure, G, V, memory_kib, process_alive, wait_until
from test_guest import BOOT_SECONDS, GuestTest

MIB = 2**20


class GuestDaemon(GuestTest):
    """One guest for all."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        self = cls()
        cls.vm_id = self.new_id()
        cls.daemon.vms.CreateVm(V.CreateVmRequest(vm_id=cls.vm_id, spec=V.VmSpec(
            desired_state=V.DESIRED_STATE_RUNNING, boot=self.boot_spec())), timeout=BOOT_SECONDS)
        # From now on: it is waited for while it boots.
        self.ping(timeout=duration_pb2.Duration(seconds=BOOT_SECONDS))

    @property
    def guest(self):
        return self.daemon.client.guest

    def ping(self, **fields):
        return self.guest.Ping(G.PingRequest(vm_id=self.vm_id, **fields), timeout=BOOT_SECONDS)

    def run_in(self, *command, deadline=60, **fields):
        return self.guest.Run(G.RunRequest(vm_id=self.vm_id, command=command, **fields),
                              timeout=deadline)

    def sh(self, script, **fields):
        ran = self.run_in("sh", "-c", script, **fields)
        self.assertEqual((0, b""), (ran.exit_code, ran.error_output), ran)
        return ran.output.decode()

    def test_it_answers(self):
        answer = self.ping()

        self.assertGreater(answer.uptime.ToMilliseconds(), 0)
        self.assertGreater(answer.round_trip.ToMicroseconds(), 0)

    def test_a_program_runs_to_its_end(self):
        ran = self.run_in("sh", "-c", "pwd; echo wrong >&2; exit 7", working_dir="/proc")

        self.assertEqual((b"/proc\n", b"wrong\n", 7, 0, False), (
            ran.output, ran.error_output, ran.exit_code, ran.signal, ran.timed_out))

    def test_a_signal_is_told(self):
        ran = self.run_in("sh", "-c", "kill -TERM $$")

        self.assertEqual((-1, 15), (ran.exit_code, ran.signal))

    def test_what_it_reads_is_what_was_sent(self):
        data = bytes(range(256)) * 2048  # more than is let through at a time

        ran = self.run_in("cat", input=data)

        self.assertEqual(data, ran.output)

    def test_without_input_it_reads_nothing(self):
        self.assertEqual("0\n", self.sh("wc -c | tr -d ' '"))

    def test_one_whose_time_is_up_is_killed_with_all_it_began(self):
        ran = self.run_in("sh", "-c", "sleep 1001 & sleep 1001",
                          timeout=duration_pb2.Duration(nanos=500_000_000))

        self.assertEqual((True, 9), (ran.timed_out, ran.signal))
        self.assertEqual("", self.sh("ps | grep 'sleep 100[1]' || true"))

    def test_one_whose_caller_has_gone_is_killed(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.run_in("sleep", "1002", deadline=1)

        self.assertEqual(Code.DEADLINE_EXCEEDED, caught.exception.code())
        wait_until(lambda: self.sh("ps | grep 'sleep 100[2]' || true") == "", "it is killed")

    def test_more_output_than_is_kept_is_cut_and_said(self):
        before = memory_kib(self.daemon.pid)

        ran = self.run_in("sh", "-c", "head -c 20000000 /dev/zero; echo end >&2", max_output_bytes=1000)

        self.assertEqual((1000, 0, True), (len(ran.output), ran.exit_code, ran.truncated))
        self.assertLess(memory_kib(self.daemon.pid), before + 8 * 1024)

    def test_twenty_run_at_once(self):
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            ran = list(pool.map(lambda n: self.run_in("sh", "-c", "sleep 1; echo %d" % n), range(20)))

        self.assertEqual([b"%d\n" % n for n in range(20)], [one.output for one in ran])

    def test_what_is_not_there_is_named(self):
        for fields, words in ((dict(command=["nonesuch"]), "nonesuch: No such file"),
                              (dict(command=["id"], user="nobody-here"), "there is no user 'nobody-here'"),
                              (dict(command=["id"], working_dir="/nowhere"), "/nowhere: No such file")):
            failure = self.refused(self.guest.Run, G.RunRequest(vm_id=self.vm_id, **fields),
                                   Code.NOT_FOUND, "GUEST_METADATA")
            self.assertIn(words, failure.message)

    def test_a_user_without_a_name_is_that_user(self):
        self.assertEqual("1234:1234\n", self.sh("echo $(id -u):$(id -g)", user="1234"))

    def test_variables_are_every_later_programs(self):
        set_env = self.guest.SetEnv
        set_env(G.SetEnvRequest(vm_id=self.vm_id, env={"A": "it's", "B": "b"}, replace=True), timeout=20)
        set_env(G.SetEnvRequest(vm_id=self.vm_id, env={"B": "c"}), timeout=20)

        self.assertEqual("it's c d\n", self.sh("echo $A $B $C", env={"C": "d"}))
        self.assertEqual("it's c\n", self.sh(". /run/hearth/env; echo $A $B"))
        set_env(G.SetEnvRequest(vm_id=self.vm_id, replace=True), timeout=20)
        self.assertEqual("\n", self.sh("echo $A $B"))

    def test_a_secret_is_roots_in_memory_and_in_no_log(self):
        secret = b"s3cr3t-%d" % time.monotonic_ns()
        self.guest.SetSecret(G.SetSecretRequest(vm_id=self.vm_id, name="token", data=secret), timeout=20)

        self.assertEqual(secret.decode(), self.sh("cat /run/hearth/secrets/token"))
        self.assertEqual("600 0\n", self.sh("stat -c '%a %u' /run/hearth/secrets/token"))
        self.assertNotIn(secret.decode(), self.daemon.log_path.read_text())
        self.assertNotIn(secret.decode(), self.console(self.vm_id))
        self.guest.SetSecret(G.SetSecretRequest(vm_id=self.vm_id, name="token", remove=True), timeout=20)
        self.assertEqual("", self.sh("ls /run/hearth/secrets"))

    def test_the_next_agent_finds_it_again_and_the_daemon_goes_on(self):
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            running = pool.submit(self.run_in, "sh", "-c", "sleep 3; echo done > /tmp-done")
            time.sleep(1)
            self.daemon.restart()
            with self.assertRaises(grpc.RpcError) as caught:
                running.result()

        self.assertEqual(Code.UNAVAILABLE, caught.exception.code())
        self.ping()
        wait_until(lambda: self.run_in("cat", "/tmp-done").output == b"done\n", "it has gone on")

    def test_the_end_of_a_daemon_is_noticed_when_the_next_one_begins(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.run_in("sh", "-c", "hearth-guest > /dev/null 2>&1 & sleep 0.2; kill $PPID; sleep 1003")

        failure = Failure(caught.exception)
        self.assertEqual("guest metadata: exec: the guest's daemon has begun anew", failure.message)
        self.assertEqual(Code.UNAVAILABLE, failure.code)
        self.ping(timeout=duration_pb2.Duration(seconds=60))


class GuestWithoutDaemon(GuestTest):
    def test_it_is_said_that_nobody_answers_and_nothing_else_suffers(self):
        vm = self.boot("hearth.mute")
        self.follow_to(vm.vm_id, "guest# ")

        with self.assertRaises(grpc.RpcError) as caught:
            self.daemon.client.guest.Ping(G.PingRequest(
                vm_id=vm.vm_id, timeout=duration_pb2.Duration(seconds=1)), timeout=20)

        failure = Failure(caught.exception)
        self.assertEqual((Code.DEADLINE_EXCEEDED, "GUEST_METADATA"), (failure.code, failure.reason))
        self.assertEqual("guest metadata: ping: hello: no answer in time", failure.message)
        self.assertTrue(process_alive(vm.status.resolved.vmm_pid))
