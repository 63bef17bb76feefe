# SPDX-License-Identifier: Apache-2.0
"""Clones of one snapshot on the real Firecracker, jailed: how long each takes, and what each holds."""

import concurrent.futures
import contextlib
import json
import time

import bench
import firecracker

ORIGIN, SNAPSHOT = "origin", "warm"
CALLERS = 8
BACKENDS = {"mapped file": "file", "pager": "userfaultfd"}
PROGRAM = "/firecracker"  # in a jail


def pss_kib(pid):
    """As memory_kib(), with each page's share where several processes have it."""
    with open("/proc/%d/smaps_rollup" % pid) as rollup:
        pss = next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
    return {"pss": pss, **bench.memory_kib(pid)}


def program_kib(pid):
    """Of a VMM, its jail's own copy of Firecracker's program."""
    held, is_program = 0, False
    with open("/proc/%d/smaps" % pid) as maps:
        for line in maps:
            words = line.split()
            if not words[0].endswith(":"):
                is_program = words[-1] == PROGRAM
            elif is_program and words[0] == "Pss:":
                held += int(words[1])
    return held


def clone(node, vm_id, backend):
    return json.loads(node.ctl("create", vm_id, "--start", "--restore", ORIGIN + "/" + SNAPSHOT,
                               "--shared-identity", "--memory-backend", backend))


def operation_ms(vm):
    if vm["status"]["state"] != "VM_STATE_RUNNING":
        raise RuntimeError("%s is %s" % (vm["vmId"], vm["status"]["state"]))
    return firecracker.took_ms(vm["status"]["lastOperation"])


def processes(node, vm):
    """The pids of a clone's VMM, keeper and pager, if it has one."""
    resolved = vm["status"]["resolved"]
    pids = {"VMM": int(resolved["vmmPid"]), "keeper": int(resolved["keeperPid"])}
    state = node.server.state / "state" / "vms" / resolved["instanceId"] / "keeper.json"
    pager = json.loads(state.read_text()).get("pager")
    return {**pids, "pager": pager["pid"]} if pager else pids


def times_ms(node, backend, rounds):
    """One clone at a time, in turn with VMs that boot."""
    cloned, booted = [], []
    for i in range(rounds):
        for took, make in ((booted, lambda vm_id: node.create(vm_id)),
                           (cloned, lambda vm_id: clone(node, vm_id, backend))):
            time.sleep(firecracker.PAUSE)
            took.append(operation_ms(make("one-%d" % i)))
            node.destroy("one-%d" % i)
    return booted, cloned


def crowd(node, agent, backend, count):
    """All of them at once, from several callers: a second, and what they hold when they are idle."""
    ids = ["clone-%d" % i for i in range(count)]
    before = bench.memory_kib(agent)
    with concurrent.futures.ThreadPoolExecutor(CALLERS) as pool:
        begun = time.monotonic()
        vms = list(pool.map(lambda vm_id: clone(node, vm_id, backend), ids))
        rate = count / (time.monotonic() - begun)
        time.sleep(3)
        after = bench.memory_kib(agent)
        held = {}
        for vm in vms:
            for name, pid in processes(node, vm).items():
                held.setdefault(name, []).append(pss_kib(pid))
        program = bench.median(program_kib(processes(node, vm)["VMM"]) for vm in vms)
        list(pool.map(node.destroy, ids))
    print("%s: of the VMM %.0f KiB are the program, which each jail has a copy of" %
          (backend, program))
    figures = {name: {key: bench.median(one[key] for one in each) for key in ("pss", "dirty")}
               for name, each in held.items()}
    figures["hearthd"] = {"pss": (after["rss"] - before["rss"]) / count,
                          "dirty": (after["dirty"] - before["dirty"]) / count}
    return rate, figures


def run(rounds=30, count=100):
    if not firecracker.FIRECRACKER or not firecracker.JAILER or not firecracker.GUEST.exists():
        return [("clones of a snapshot", "no firecracker, jailer or guest", "", "not measured")]
    node = firecracker.Node(firecracker.JAILED, "--jailer-binary", firecracker.JAILER)
    results = {}
    with contextlib.ExitStack() as stack:
        stack.callback(firecracker.remove_groups)
        bench.show(node.server.command)
        agent = stack.enter_context(node.server.running())
        stack.callback(node.destroy_all)
        node.create(ORIGIN)
        node.ctl("snapshot", "create", ORIGIN, SNAPSHOT, "--then", "stop")
        for name, backend in BACKENDS.items():
            clone(node, "warm-up", backend)
            node.destroy("warm-up")
            results[name] = (times_ms(node, backend, rounds), crowd(node, agent, backend, count))
    return report(results, rounds, count)


def report(results, rounds, count):
    print("\none VM of %d MiB at a time: the operation, ms, %d each" %
          (firecracker.MEMORY_MIB, rounds))
    bench.table(["", "booted p50", "cloned p50", "cloned most"],
                [[name, *("%.1f" % value for value in
                          (bench.median(booted), bench.median(cloned), max(cloned)))]
                 for name, ((booted, cloned), _) in results.items()])
    print("%d clones of one snapshot from %d callers; medians of one, KiB" % (count, CALLERS))
    bench.table(["", "a second", "process", "PSS", "private dirty"],
                [[name, "%.0f" % rate, process, "%.0f" % held["pss"], "%.0f" % held["dirty"]]
                 for name, (_, (rate, figures)) in results.items()
                 for process, held in figures.items()])
    rows = []
    for name, ((booted, cloned), (rate, figures)) in results.items():
        whole = sum(held["pss"] for held in figures.values())
        rows += [("clones: %s, all of one, idle" % name, "%.1f MiB" % (whole / 1024),
                  "report", ""),
                 ("clones: %s, time to a boot's" % name,
                  "%.2f" % (bench.median(cloned) / bench.median(booted)), "report", ""),
                 ("clones: %s, a second, 8 callers" % name, "%.0f" % rate, "report", "")]
    return rows
