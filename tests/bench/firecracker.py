# SPDX-License-Identifier: Apache-2.0
"""Create and start on the real Firecracker: hearthd beside a script that asks it for the same."""

import concurrent.futures
import contextlib
import datetime
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import bench

FIRECRACKER = os.environ.get("FIRECRACKER_BIN") or shutil.which("firecracker")
JAILER = os.environ.get("JAILER_BIN") or shutil.which("jailer")
GUEST = bench.PROGRAMS.parent / "guest/guest64.elf"
CGROUP = "hearth-bench-%d" % os.getpid()
CGROUPS = pathlib.Path("/sys/fs/cgroup")
MEMORY_MIB = 16
ARGS = "exit=halt"
CALLERS = 8
PAUSE = 0.3
PLAIN, JAILED = "hearthd, not jailed", "hearthd, jailed"
ADDED_MS = {PLAIN: 5, JAILED: 20}  # the targets


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)

    def put(self, path, **body):
        self.request("PUT", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = self.getresponse()
        words = answer.read()
        if answer.status != 204:
            raise RuntimeError("PUT %s: %d: %s" % (path, answer.status, words))


def wait_socket(path):
    """Until somebody listens: as often as a careful script would look."""
    while True:
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(path) == 0:
                return
        time.sleep(0.001)


def twin_ms():
    """Of a VM by hand, without record, keeper or jail: from the fork to the answer to the boot."""
    with tempfile.TemporaryDirectory(prefix="hearth-bench.") as folder:
        path, files = folder + "/api.sock", [folder + "/console", folder + "/metrics"]
        for file in files:
            pathlib.Path(file).touch()
        begun = time.monotonic()
        process = subprocess.Popen([FIRECRACKER, "--api-sock", path, "--level", "Warning",
                                    "--id", "twin"], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_socket(path)
            with contextlib.closing(UnixConnection(path)) as api:
                api.put("/metrics", metrics_path=files[1])
                api.put("/machine-config", vcpu_count=1, mem_size_mib=MEMORY_MIB)
                api.put("/boot-source", kernel_image_path=str(GUEST), boot_args=ARGS)
                api.put("/serial", serial_out_path=files[0],
                        rate_limiter={"size": 262144, "refill_time": 1000})
                api.put("/actions", action_type="InstanceStart")
            return 1000 * (time.monotonic() - begun)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


class Node:
    """A hearthd with Firecracker, driven by hearthctl."""

    def __init__(self, name, *flags):
        self.name = name
        self.server = bench.Hearthd("--log-level", "error", "--firecracker-binary", FIRECRACKER,
                                    "--jailer-cgroup", CGROUP, *flags, backend="firecracker")

    def ctl(self, *words, output="json"):
        command = [bench.PROGRAMS / "hearthctl", "--address", self.server.address,
                   "--output", output, *words]
        return subprocess.run([str(word) for word in command], check=True,
                              stdout=subprocess.PIPE, text=True).stdout

    def create(self, vm_id):
        vm = json.loads(self.ctl("create", vm_id, "--start", "--kernel", GUEST, "--args", ARGS,
                                 "--memory", MEMORY_MIB))
        if vm["status"]["state"] != "VM_STATE_RUNNING":
            raise RuntimeError("%s is %s" % (vm_id, vm["status"]["state"]))
        return vm

    def destroy(self, vm_id):
        self.ctl("destroy", vm_id)

    def destroy_all(self):
        for vm_id in self.ctl("list", output="name").split():
            self.destroy(vm_id)


def took_ms(timed):
    """Of an operation or a step, as hearthd recorded it."""
    begun, ended = (datetime.datetime.fromisoformat(timed[key]) for key in ("startTime", "endTime"))
    return 1000 * (ended - begun).total_seconds()


def one_ms(node, vm_id):
    """A VM's creation and start: all of it, from the spawn on, and each step."""
    operation = node.create(vm_id)["status"]["lastOperation"]
    node.destroy(vm_id)
    steps = {step["name"]: took_ms(step) for step in operation["steps"]}
    spawn, accepted = (next(step for step in operation["steps"] if step["name"] == name)
                       for name in ("launch", "boot"))
    return {"all": took_ms(operation),
            "spawn to boot": took_ms({"startTime": spawn["startTime"],
                                      "endTime": accepted["endTime"]}), **steps}


def rounds_of(nodes, rounds):
    """Each round has one VM of each, in an order that rotates, after a pause in which the host gets
    done with the one before: the kernel takes a VM apart long after its process is gone."""
    runs = {"by hand": lambda _: {"spawn to boot": twin_ms()}}
    runs.update((node.name, lambda vm_id, node=node: one_ms(node, vm_id)) for node in nodes)
    names, times = list(runs), {name: [] for name in runs}
    for i in range(rounds + 1):
        for name in names[i % len(names):] + names[:i % len(names)]:
            time.sleep(PAUSE)
            took = runs[name]("round-%d" % i)
            if i > 0:  # the first warms the caches
                times[name].append(took)
    return times


def crowd(node, pid, count):
    """VMs a second from all callers, hearthctl's own time included; what each one holds."""
    ids = ["crowd-%d" % i for i in range(count)]
    before = bench.memory_kib(pid)
    with concurrent.futures.ThreadPoolExecutor(CALLERS) as pool:
        begun = time.monotonic()
        vms = list(pool.map(node.create, ids))
        rate = count / (time.monotonic() - begun)
        after = bench.memory_kib(pid)
        keepers = [bench.memory_kib(int(vm["status"]["resolved"]["keeperPid"])) for vm in vms]
        list(pool.map(node.destroy, ids))
    return {"rate": rate, "keeper": bench.median(keeper["dirty"] for keeper in keepers),
            "hearthd": (after["dirty"] - before["dirty"]) / count}


def remove_groups():
    for top in CGROUPS, *CGROUPS.iterdir():
        if (top / CGROUP).is_dir():
            (top / CGROUP).rmdir()


def run(rounds=30, count=80):
    if not FIRECRACKER or not GUEST.exists():
        return [("create+start on Firecracker", "no firecracker or no guest", "", "not measured")]
    nodes = [Node(PLAIN, "--jailer-mode", "off")]
    if JAILER:
        nodes.append(Node(JAILED, "--jailer-binary", JAILER))
    with contextlib.ExitStack() as stack:
        stack.callback(remove_groups)
        pids = []
        for node in nodes:
            bench.show(node.server.command)
            pids.append(stack.enter_context(node.server.running()))
            stack.callback(node.destroy_all)
        times = rounds_of(nodes, rounds)
        crowds = {node.name: crowd(node, pid, count) for node, pid in zip(nodes, pids)}
    return report(times, crowds, count)


def report(times, crowds, count):
    def middle(name, step):
        return bench.median(took[step] for took in times[name])

    steps = list(next(iter(times[next(iter(crowds))])))
    print("\none VM: medians of %d interleaved rounds, ms" % len(times["by hand"]))
    bench.table(["", *steps],
                [[name, *("%.1f" % middle(name, step) if step in times[name][0] else ""
                          for step in steps)] for name in times])
    print("%d VMs from %d callers" % (count, CALLERS))
    bench.table(["", "VMs/s", "keeper, private dirty KiB", "hearthd, private dirty KiB per VM"],
                [[name, *("%.1f" % figures[key] for key in ("rate", "keeper", "hearthd"))]
                 for name, figures in crowds.items()])
    added = {name: middle(name, "spawn to boot") - middle("by hand", "spawn to boot")
             for name in crowds}
    return [("Firecracker from spawn to boot, %s, more than by hand" % name, "%.1f ms" % ms,
             "<= %d ms" % ADDED_MS[name], bench.verdict(ms <= ADDED_MS[name]))
            for name, ms in added.items()] + [
        ("VMs a second, 8 callers, %s" % name, "%.0f" % figures["rate"], "report", "")
        for name, figures in crowds.items()]
