# SPDX-License-Identifier: Apache-2.0
"""/metrics as Prometheus sees it: by its own parser, and by promtool where that is installed."""

import http.client
import json
import re
import shutil
import socket
import subprocess
import tempfile
import unittest
import urllib.request

import grpc
from prometheus_client.parser import text_string_to_metric_families

from firecracker_host import BOOT_SECONDS, FIRECRACKER, JAILER, Host
from harness import ROOT, DaemonTest, Hearthd, N, V, free_port, wait_until

PROMTOOL = shutil.which("promtool")


class Scraped:
    """The families of a page, and its samples by name and labels."""

    def __init__(self, text):
        self.text = text
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.samples = {(sample.name, frozenset(sample.labels.items())): sample.value
                        for family in self.families.values() for sample in family.samples}

    def value(self, name, **labels):
        return self.samples.get((name, frozenset(labels.items())), 0)

    def of(self, name, vm_id):
        return [value for (found, labels), value in self.samples.items()
                if found == name and ("vm_id", vm_id) in labels]


class MetricsDaemon:
    """What both suites do; hearthd listens at a port of the suite's own."""

    vms_key = "usage"

    @classmethod
    def metrics_flags(cls):
        cls.port = free_port()
        return ("--metrics-listen", "127.0.0.1:%d" % cls.port, "--metrics-vms", cls.vms_key)

    def scrape(self):
        with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % self.port, timeout=20) as page:
            return Scraped(page.read().decode())


class MetricsTest(MetricsDaemon, DaemonTest):
    @classmethod
    def setUpClass(cls):
        cls.flags = cls.metrics_flags()
        super().setUpClass()

    def handled(self, page, method, code):
        return page.value("grpc_server_handled_total", grpc_type="unary", grpc_method=method,
                          grpc_service="hearth.v1.VmService", grpc_code=code)

    def test_it_counts_what_was_called(self):
        before = self.scrape()
        vm = self.running()
        for _ in range(3):
            self.get(vm.vm_id)
        with self.assertRaises(grpc.RpcError):
            self.get("nobody")
        self.vms.StopVm(V.StopVmRequest(vm_id=vm.vm_id), timeout=20)
        # A call is counted a moment after its answer.
        wait_until(lambda: self.handled(self.scrape(), "StopVm", "OK") >
                   self.handled(before, "StopVm", "OK"), "it is counted")
        after = self.scrape()

        for method, code, more in (("CreateVm", "OK", 1), ("GetVm", "OK", 3),
                                   ("GetVm", "NOT_FOUND", 1), ("StopVm", "OK", 1)):
            self.assertEqual(self.handled(before, method, code) + more,
                             self.handled(after, method, code), method)
        for operation in "start", "stop":
            labels = {"operation": operation}
            self.assertEqual(
                before.value("hearth_operations_total", outcome="succeeded", **labels) + 1,
                after.value("hearth_operations_total", outcome="succeeded", **labels))
            self.assertEqual(
                before.value("hearth_operation_duration_seconds_count", **labels) + 1,
                after.value("hearth_operation_duration_seconds_count", **labels))
        self.assertEqual(before.value("hearth_vms", state="stopped") + 1,
                         after.value("hearth_vms", state="stopped"))
        self.assertGreater(after.value("hearth_store_commit_duration_seconds_count"),
                           before.value("hearth_store_commit_duration_seconds_count"))
        self.assertEqual(1, after.value("hearth_node_condition", type="Ready"))

    def test_a_cordon_is_seen(self):
        self.node.Cordon(N.CordonRequest(owner="test", reason="tried"), timeout=20)
        self.assertEqual(1, self.scrape().value("hearth_node_cordons"))
        self.node.Uncordon(N.UncordonRequest(owner="test"), timeout=20)
        self.assertEqual(0, self.scrape().value("hearth_node_cordons"))

    @unittest.skipUnless(PROMTOOL, "no promtool on PATH (Debian: prometheus)")
    def test_promtool_has_nothing_to_say(self):
        self.running()
        checked = subprocess.run([PROMTOOL, "check", "metrics"], input=self.scrape().text,
                                 capture_output=True, text=True, timeout=60)
        self.assertEqual((0, "", ""), (checked.returncode, checked.stdout, checked.stderr))

    def test_there_is_nothing_else(self):
        for method, path, code in (("GET", "/", 404), ("GET", "/metrics/x", 404),
                                   ("POST", "/metrics", 405), ("DELETE", "/metrics", 405)):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            connection.request(method, path, body=b"x" * 1000 if method == "POST" else None)
            self.assertEqual(code, connection.getresponse().status, (method, path))
            connection.close()

    def test_clients_that_mean_harm_cost_nobody_a_scrape(self):
        silent = [socket.create_connection(("127.0.0.1", self.port), timeout=30)
                  for _ in range(100)]
        for connection in silent:
            self.addCleanup(connection.close)
        large = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        self.addCleanup(large.close)
        try:
            large.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 200000)
        except OSError:
            pass  # cut off already

        # Those beyond the limit wait until the others are let go.
        def scraped():
            try:
                return self.scrape()
            except OSError:
                return None
        self.assertIn("hearth_vms", wait_until(scraped, "a scrape", 60).families)
        self.get(self.running().vm_id)

    def test_a_wrong_address_is_refused_with_its_key(self):
        for address in "nonsense", "unix:/tmp/x", "127.0.0.1:%d" % self.port:
            daemon = Hearthd("--metrics-listen", address)
            self.addCleanup(daemon.close)
            with self.assertRaises(AssertionError) as caught:
                daemon.start()
            self.assertIn("metrics.listen", str(caught.exception))

    def test_the_reference_tells_of_each_family(self):
        told = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", (ROOT / "docs/metrics.md").read_text(),
                               re.M))
        here = {re.sub("^# TYPE ", "", line).split()[0]: line.split()[3]
                for line in self.scrape().text.splitlines() if line.startswith("# TYPE ")}

        self.assertLessEqual(here.items(), told.items())
        self.assertEqual({"hearth_vm_vmm_events_total", "hearth_vm_vmm_value"}, set(told) - set(here))


class AlertsTest(unittest.TestCase):
    RULES = ROOT / "deploy/prometheus/alerts.yaml"
    DASHBOARD = ROOT / "deploy/prometheus/dashboard.json"

    def test_they_are_about_metrics_that_there_are(self):
        told = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", (ROOT / "docs/metrics.md").read_text(),
                               re.M))
        known = set(told) | {name + end for name, kind in told.items() if kind == "histogram"
                             for end in ("_bucket", "_sum", "_count")}
        labels = {"grpc_code", "grpc_method", "grpc_service", "grpc_type"}
        for text in self.RULES.read_text(), *self.expressions():
            used = set(re.findall(r"\b(?:hearth|process|grpc)_\w+", text)) - labels
            self.assertTrue(used, text)
            self.assertEqual(set(), used - known)

    def expressions(self):
        panels = json.loads(self.DASHBOARD.read_text())["panels"]
        self.assertEqual(len(panels), len({panel["id"] for panel in panels}))
        return [target["expr"] for panel in panels for target in panel["targets"]]

    @unittest.skipUnless(PROMTOOL, "no promtool on PATH (Debian: prometheus)")
    def test_the_dashboards_expressions_are_such(self):
        rules = [{"record": "x:%d" % i, "expr": expression.replace("$instance", ".*")}
                 for i, expression in enumerate(self.expressions())]
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump({"groups": [{"name": "x", "rules": rules}]}, file)
            file.flush()
            checked = subprocess.run([PROMTOOL, "check", "rules", file.name],
                                     capture_output=True, text=True, timeout=60)
        self.assertEqual(0, checked.returncode, checked.stdout + checked.stderr)

    @unittest.skipUnless(PROMTOOL, "no promtool on PATH (Debian: prometheus)")
    def test_promtool_takes_them(self):
        checked = subprocess.run([PROMTOOL, "check", "rules", str(self.RULES)],
                                 capture_output=True, text=True, timeout=60)
        self.assertEqual(0, checked.returncode, checked.stdout + checked.stderr)


@unittest.skipUnless(FIRECRACKER and JAILER, "no firecracker and jailer on PATH")
class VmTest(MetricsDaemon, Host):
    vms_key = "all"
    jail = ("--jailer-binary", JAILER)

    @classmethod
    def flags_of(cls, cgroup):
        return (*super().flags_of(cgroup), *cls.metrics_flags())

    def test_a_vm_has_series_while_it_runs(self):
        vm = self.boot("exit=loop")
        self.grows(vm)
        wait_until(lambda: self.scrape().value("hearth_vm_cpu_seconds_total", vm_id=vm.vm_id) > 0,
                   "it uses a CPU")
        page = self.scrape()
        self.assertGreater(page.value("hearth_vm_memory_bytes", vm_id=vm.vm_id), 1 << 20)
        self.assertGreaterEqual(page.value("hearth_vm_pids", vm_id=vm.vm_id), 2)
        # Firecracker tells on its own once a minute, and when it is asked.
        self.metrics(vm)
        wait_until(lambda: self.scrape().of("hearth_vm_vmm_events_total", vm.vm_id), "what it counts")
        told = self.scrape()
        self.assertLessEqual(
            {"hearth_vm_vmm_value", "hearth_vm_vmm_events_total"},
            {line.split()[2] for line in told.text.splitlines() if line.startswith("# TYPE")})

        self.destroy(vm.vm_id)
        gone = self.scrape()
        self.assertEqual([], [labels for _, labels in gone.samples if ("vm_id", vm.vm_id) in labels])


if __name__ == "__main__":
    unittest.main()
