# SPDX-License-Identifier: Apache-2.0
"""CPU of the server per GetVm call at 50 callers, hearthd beside grpc-go and tonic."""

import contextlib
import json
import pathlib
import subprocess
import tempfile

import bench

CALLERS = 50
VMS = 1000


class Server:
    def __init__(self, name, address, pid):
        self.name, self.address, self.pid = name, address, pid
        self.rounds = {}


def ghz(address, connections, seconds):
    return [str(bench.TOOLS / "ghz"), "--insecure", "--proto", str(bench.ROOT / "proto/hearth/v1/vm.proto"),
            "--import-paths", str(bench.ROOT / "proto"), "--call", "hearth.v1.VmService/GetVm",
            "--data", '{"vm_id":"fill-7"}', "--concurrency", str(CALLERS), "--connections",
            str(connections), "--duration", "%gs" % seconds, "--duration-stop", "wait",
            "--format", "json", address]


def measure(server, connections, seconds):
    before = bench.cpu_seconds(server.pid)
    run = subprocess.run(ghz(server.address, connections, seconds), check=True,
                         stdout=subprocess.PIPE)
    used = bench.cpu_seconds(server.pid) - before
    report = json.loads(run.stdout)
    if report["statusCodeDistribution"] != {"OK": report["count"]}:
        raise RuntimeError("%s failed calls: %s" % (server.name, report["statusCodeDistribution"]))
    p99 = next(row["latency"] for row in report["latencyDistribution"] if row["percentage"] == 99)
    return {"cpu_us": 1e6 * used / report["count"], "rps": report["rps"], "p99_ms": p99 / 1e6}


def start_all(stack, flags):
    """hearthd in three forms, and the peers with the very VM that hearthd answers."""
    servers = []
    sample = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory())) / "vm.pb"
    forms = [("hearthd, 2 pollers", ["--log-level", "error"]),
             ("hearthd, 1 poller", ["--log-level", "error", "--limits-pollers", "1"]),
             ("hearthd, 2 pollers, each call logged", [])]
    for name, form in forms:
        hearthd = bench.Hearthd(*form, *flags)
        bench.show(hearthd.command)
        servers.append(Server(name, hearthd.address, stack.enter_context(hearthd.running())))
        bench.load(hearthd, "fill", count=VMS)
        bench.load(hearthd, "dump", out=sample)
    for name in "grpc-go", "tonic":
        port = bench.free_port()
        address = "127.0.0.1:%d" % port
        command = [bench.TOOLS / name, address, sample, VMS]
        if name == "grpc-go":
            command = [bench.TOOLS / name, "-address", address, "-vm", sample, "-count", VMS]
        if command[0].exists():
            bench.show(command)
            servers.append(Server(name, address,
                                  stack.enter_context(bench.serving(name, command, port))))
    print("a Vm of %d bytes, %d VMs" % (sample.stat().st_size, VMS))
    return servers


def run(rounds=5, seconds=3.0, flags=()):
    results = []
    with contextlib.ExitStack() as stack:
        servers = start_all(stack, flags)
        bench.show(ghz("ADDRESS", "1|10", seconds))
        for connections in 1, 10:
            for server in servers:
                measure(server, connections, 0.5)
                server.rounds[connections] = []
            for i in range(rounds):
                # Another order each time: who comes first is nobody's privilege.
                for server in servers[i % len(servers):] + servers[:i % len(servers)]:
                    server.rounds[connections].append(measure(server, connections, seconds))
            results += report(servers, connections)
    return results


def report(servers, connections):
    def figure(server, name):
        return bench.median(row[name] for row in server.rounds[connections])

    def ratio(server):
        pairs = zip(server.rounds[connections], go.rounds[connections])
        return bench.median(mine["cpu_us"] / its["cpu_us"] for mine, its in pairs)

    go = next(server for server in servers if server.name == "grpc-go")
    print("\nGetVm, %d callers, %d connection(s): medians of %d interleaved rounds" %
          (CALLERS, connections, len(go.rounds[connections])))
    bench.table(["server", "CPU us/call", "least", "of grpc-go", "calls/s", "p99 ms"],
                [[s.name, "%.1f" % figure(s, "cpu_us"),
                  "%.1f" % min(row["cpu_us"] for row in s.rounds[connections]),
                  "%.2f" % ratio(s), "%.0f" % figure(s, "rps"), "%.1f" % figure(s, "p99_ms")]
                 for s in servers])
    value = ratio(servers[0])
    return [("CPU per GetVm, %d connection(s), of grpc-go's" % connections, "%.2f" % value,
             "<= 0.95, aim 0.7", bench.verdict(value <= 0.95))]
