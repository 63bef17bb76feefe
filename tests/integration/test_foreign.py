# SPDX-License-Identifier: Apache-2.0
"""Clients that know nothing of hearth: grpcurl by reflection, health probes, hearthctl beside them."""

import json
import subprocess
import tempfile

import grpc

from harness import GRPCURL, Code, DaemonTest, V

METHODS = {
    "VmService": {"CreateVm", "StartVm", "StopVm", "PauseVm", "ResumeVm", "DestroyVm", "GetVm",
                  "ListVms", "UpdateVm", "WatchVms", "WaitVm", "ListVmEvents", "ReadConsole",
                  "GetVmMetrics", "DiagnoseVm"},
    "NodeService": {"GetNode", "WatchNode", "Cordon", "Uncordon", "Drain", "Doctor"},
    "EgressService": {"GetEgressPolicy", "SetEgressPolicy", "ExplainEgress", "WatchEgress"},
    "GuestService": {"Ping", "SetEnv", "SetSecret", "Run", "Exec"},
}


class Grpcurl(DaemonTest):
    tcp = True

    def grpcurl(self, *arguments, options=("-unix",), address=None, check=True):
        result = subprocess.run(
            [GRPCURL, "-plaintext", "-max-time", "30", *options, *arguments[:-1],
             address or str(self.daemon.socket), *arguments[-1:]],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        if check:
            self.assertEqual(0, result.returncode, result.stderr)
        return result

    def call(self, method, request, **options):
        return self.grpcurl("-d", json.dumps(request), "hearth.v1." + method, **options)

    def list(self, what, **options):
        arguments = [GRPCURL, "-plaintext", "-max-time", "30", "-unix", str(self.daemon.socket),
                     "list"]
        result = subprocess.run(arguments + ([what] if what else []), capture_output=True,
                                text=True, timeout=60, stdin=subprocess.DEVNULL)
        self.assertEqual(0, result.returncode, result.stderr)
        return set(result.stdout.split())

    def test_it_lists_every_service_and_method(self):
        self.assertLessEqual({"hearth.v1.VmService", "hearth.v1.NodeService",
                              "grpc.health.v1.Health"}, self.list(None))
        for service, methods in METHODS.items():
            prefix = "hearth.v1.%s." % service
            self.assertEqual({prefix + method for method in methods}, self.list(prefix[:-1]))

    def test_it_describes_types_with_their_imports(self):
        result = subprocess.run(
            [GRPCURL, "-plaintext", "-unix", str(self.daemon.socket), "describe",
             "hearth.v1.VmSpec"], capture_output=True, text=True, timeout=60,
            stdin=subprocess.DEVNULL)

        self.assertIn("restart_policy", result.stdout, result.stderr)
        self.assertIn("google.protobuf.Timestamp expires_at", result.stdout)

    def test_it_takes_a_vm_through_its_life(self):
        vm_id = self.new_id()

        created = json.loads(self.call("VmService/CreateVm", {
            "vm_id": vm_id, "spec": {"desired_state": "DESIRED_STATE_RUNNING"}}).stdout)
        self.call("VmService/StopVm", {"vm_id": vm_id})
        destroyed = json.loads(self.call("VmService/DestroyVm", {"vm_id": vm_id}).stdout)

        self.assertEqual("VM_STATE_RUNNING", created["status"]["state"])
        self.assertEqual("VM_STATE_DESTROYED", destroyed["status"]["state"])

    def test_it_shows_the_details_of_a_failure(self):
        result = self.call("VmService/GetVm", {"vm_id": "nobody"}, check=False)

        self.assertNotEqual(0, result.returncode)
        for words in ("NotFound", "vm 'nobody' not found", "google.rpc.ErrorInfo",
                      '"reason": "VM_NOT_FOUND"', '"domain": "hearth.v1"'):
            self.assertIn(words, result.stderr)

    def test_it_works_over_tcp_as_well(self):
        result = self.grpcurl("-d", "{}", "hearth.v1.NodeService/GetNode", options=(),
                              address=self.daemon.tcp)

        self.assertIn("nodeId", result.stdout)

    def test_an_unknown_method_or_service_is_unimplemented(self):
        for method in ("/hearth.v1.VmService/NoSuch", "/no.such.Service/Method"):
            call = self.daemon.client.channel.unary_unary(method)
            self.refused(lambda request, timeout, call=call: call(request, timeout=timeout), b"",
                         Code.UNIMPLEMENTED)


class Standards(DaemonTest):
    def stream(self, method, requests):
        call = self.daemon.client.channel.stream_stream(method)
        return list(call(iter(requests), timeout=20))

    def test_reflection_is_there_in_both_versions_and_says_the_same(self):
        list_services = b"\x3a\x01*"
        symbol = b"hearth.v1.VmService"
        by_symbol = b"\x22" + bytes([len(symbol)]) + symbol

        answers = [self.stream("/grpc.reflection.%s.ServerReflection/ServerReflectionInfo" % version,
                               [list_services, by_symbol]) for version in ("v1", "v1alpha")]

        self.assertEqual(answers[0], answers[1])
        self.assertIn(b"hearth.v1.NodeService", answers[0][0])
        self.assertIn(b"hearth/v1/vm.proto", answers[0][1])

    def test_reflection_says_so_when_it_knows_no_such_symbol(self):
        answers = self.stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                              [b"\x22\x04none"])

        self.assertIn(b"\x08\x05", answers[0][-60:])  # error_code: NOT_FOUND

    def health(self, service):
        return self.daemon.client.raw("Check", b"\x0a" + bytes([len(service)]) + service.encode()
                                      if service else b"", service="grpc.health.v1.Health")

    def test_health_says_alive_and_accepting_work(self):
        self.assertEqual(b"\x08\x01", self.health(""))
        self.assertEqual(b"\x08\x01", self.health("hearth.v1.VmService"))

    def test_health_of_an_unknown_service_is_not_found(self):
        self.refused(lambda request, timeout: self.health(request), "no.such", Code.NOT_FOUND)

    def test_health_can_be_watched(self):
        call = self.daemon.client.channel.unary_stream("/grpc.health.v1.Health/Watch")

        stream = call(b"", timeout=20)

        self.assertEqual(b"\x08\x01", next(stream))
        stream.cancel()


class Ctl(DaemonTest):
    def test_it_takes_a_vm_through_its_life(self):
        vm_id = self.new_id()

        self.ctl("create", vm_id, "--start")
        listed = self.ctl("list").stdout
        shown = json.loads(self.ctl("get", vm_id, "-o", "json").stdout)
        self.ctl("stop", vm_id)
        self.ctl("destroy", vm_id)

        self.assertRegex(listed, r"(?m)^%s\s.*running" % vm_id)
        self.assertEqual("VM_STATE_RUNNING", shown["status"]["state"])
        self.refused(self.vms.GetVm, V.GetVmRequest(vm_id=vm_id), Code.NOT_FOUND)

    def test_it_creates_a_vm_of_what_its_options_say(self):
        vm_id = self.new_id()
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write('{ "role": "front" }')
            file.flush()

            self.ctl("create", vm_id, "--vcpus", "2", "--smt", "--huge-pages", "2m",
                     "--cpu-template", "t2s", "--vsock", "7", "--balloon", "8", "--mmds", file.name,
                     "--drive", "path=/nonexistent/created,root,cache=writeback,io=async,bw=10m/1s+1k",
                     "--interface", "id=e,mac=02:00:00:00:00:01,mtu=1400,mmds,tx-ops=5/100ms",
                     "--cpu-limit", "1.5", "--memory-limit", "300", "--pids-limit", "100")
        described = self.ctl("describe", vm_id).stdout

        spec = self.get(vm_id).spec
        self.assertEqual(
            V.VmSpec(
                machine=V.Machine(vcpus=2, smt=True, huge_pages=V.HUGE_PAGES_2M,
                                  cpu_template=V.CPU_TEMPLATE_T2S),
                drives=[V.Drive(
                    drive_id="disk0", path="/nonexistent/created", is_root=True,
                    cache_type=V.CACHE_TYPE_WRITEBACK, io_engine=V.IO_ENGINE_ASYNC,
                    rate_limiter=V.RateLimiter(bandwidth=V.TokenBucket(
                        size=10485760, one_time_burst=1024, refill_time_ms=1000)))],
                network_interfaces=[V.NetworkInterface(
                    interface_id="e", guest_mac="02:00:00:00:00:01", mtu=1400, mmds=True,
                    tx_rate_limiter=V.RateLimiter(ops=V.TokenBucket(size=5, refill_time_ms=100)))],
                devices=V.Devices(vsock=V.Vsock(guest_cid=7), balloon=V.Balloon(amount_mib=8),
                                  mmds=V.Mmds(content='{"role":"front"}')),
                limits=V.Limits(cpu_millis=1500, memory_mib=300, pids=100)),
            spec)
        self.assertIn("cache=writeback, io=async, bw=10m/1s+1k)", described)

    def test_it_creates_nothing_of_options_that_make_no_sense(self):
        vm_id = self.new_id()

        result = self.ctl("create", vm_id, "--drive", "path=/a,bw=fast", check=False)

        self.assertEqual(2, result.returncode)
        self.assertIn("bw: 'fast' is not SIZE/DURATION[+BURST]", result.stderr)
        self.refused(self.vms.GetVm, V.GetVmRequest(vm_id=vm_id), Code.NOT_FOUND)

    def test_it_updates_a_vm_that_runs(self):
        vm = self.running(drives=[V.Drive(drive_id="data", path="/nonexistent/a", read_only=True),
                                  V.Drive(drive_id="more", path="/nonexistent/b")],
                          network_interfaces=[V.NetworkInterface(interface_id="e", mmds=True)],
                          devices=V.Devices(balloon=V.Balloon(amount_mib=8), mmds=V.Mmds()))
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write('{ "role": "front" }')
            file.flush()

            self.ctl("update", vm.vm_id, "--balloon", "9", "--mmds", file.name,
                     "--drive", "id=data,path=/nonexistent/c,d", "--label", "a=b")

        spec = self.get(vm.vm_id).spec
        self.assertEqual(9, spec.devices.balloon.amount_mib)
        self.assertEqual('{"role":"front"}', spec.devices.mmds.content)
        self.assertEqual(["/nonexistent/c,d", "/nonexistent/b"], [d.path for d in spec.drives])
        self.assertTrue(spec.drives[0].read_only)
        self.assertEqual({"a": "b"}, dict(spec.labels))

    def test_it_updates_what_a_mask_names_of_a_file(self):
        vm = self.running(devices=V.Devices(balloon=V.Balloon(amount_mib=8)), labels={"a": "b"})
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write('{"devices": {"balloon": {"amountMib": 10}}, "labels": {"c": "d"}}')
            file.flush()

            self.ctl("update", vm.vm_id, "--file", file.name, "--mask",
                     "devices.balloon,expires_at")
            alone = self.ctl("update", vm.vm_id, "--file", file.name, check=False)
            mixed = self.ctl("update", vm.vm_id, "--file", file.name, "--mask", "labels",
                             "--balloon", "1", check=False)

        self.assertEqual(10, self.get(vm.vm_id).spec.devices.balloon.amount_mib)
        self.assertEqual({"a": "b"}, dict(self.get(vm.vm_id).spec.labels))
        self.assertIn("--file and --mask go together", alone.stderr)
        self.assertIn("goes without other changes", mixed.stderr)

    def test_it_says_what_an_update_cannot_mean(self):
        vm = self.running()

        nothing = self.ctl("update", vm.vm_id, check=False)
        no_drive = self.ctl("update", vm.vm_id, "--drive", "id=x,path=/y", check=False)
        no_form = self.ctl("update", vm.vm_id, "--drive", "/y", check=False)

        self.assertIn("nothing to change", nothing.stderr)
        self.assertIn("the VM has no drive 'x'", no_drive.stderr)
        self.assertIn("is not id=NAME,path=PATH", no_form.stderr)
        self.assertEqual({2}, {r.returncode for r in (nothing, no_drive, no_form)})

    def test_it_exits_by_the_codes_of_grpc_and_explains(self):
        result = self.ctl("get", "nobody", check=False)

        self.assertEqual(16 + grpc.StatusCode.NOT_FOUND.value[0], result.returncode, result)
        self.assertIn("vm 'nobody' not found", result.stderr)

    def test_it_says_who_has_no_metrics(self):
        vm = self.running()

        result = self.ctl("metrics", vm.vm_id, check=False)

        self.assertEqual(16 + grpc.StatusCode.UNIMPLEMENTED.value[0], result.returncode, result)
        self.assertIn("metrics (in_memory)", result.stderr)

    def test_it_names_every_bad_field(self):
        result = self.ctl("create", "Bad_Id", "--memory", "1", check=False)

        self.assertNotEqual(0, result.returncode)
        self.assertIn("vm_id", result.stderr)
        self.assertIn("spec.machine.memory_mib", result.stderr)

    def test_the_doctor_is_asked_by_it_too(self):
        result = self.ctl("doctor", check=False)

        self.assertIn("kvm", result.stdout + result.stderr)
