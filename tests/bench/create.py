# SPDX-License-Identifier: Apache-2.0
"""Durable create and start from 32 callers; GetVm beside it; paging through 10 000 VMs."""

import bench

VMS = 10000


def percentiles(name, figures, what):
    return [what, "%d" % figures[name + "_count"]] + [
        "%.2f" % figures["%s_%s_ms" % (name, p)] for p in ("p50", "p99", "max")]


def run(rounds=3, seconds=5.0):
    hearthd = bench.Hearthd("--log-level", "error")
    idle, busy, pages = [], [], []
    syncs = []
    with hearthd.running():
        bench.show(hearthd.command)
        bench.load(hearthd, "fill", count=100)
        for i in range(rounds):
            syncs.append(bench.fsync_ms(hearthd.state))
            idle.append(bench.load(hearthd, "get", seconds=seconds))
            busy.append(bench.load(hearthd, "create", seconds=seconds, callers=32,
                                   prefix="round-%d" % i))
        bench.show(bench.load_command(hearthd, "create", seconds=seconds, callers=32))
    paged = bench.Hearthd("--log-level", "error")
    with paged.running():
        bench.load(paged, "fill", count=VMS)
        for size in 100, 1000:
            pages.append((size, bench.load(paged, "list", page=size, seconds=seconds)))
    return report(idle, busy, pages, syncs)


def middle(runs, name):
    return bench.median(run[name] for run in runs)


def report(idle, busy, pages, syncs):
    names = ["%s_%s" % (kind, figure) for kind in ("get", "create")
             for figure in ("count", "p50_ms", "p99_ms", "max_ms")]
    quiet = {name: middle(idle, name) for name in names[:4]}
    loaded = {name: middle(busy, name) for name in names}
    rate = middle(busy, "create_per_s")
    ratio = loaded["get_p99_ms"] / quiet["get_p99_ms"]
    print("\ndisk: append of 4 KiB and fdatasync: median %.2f ms, p99 %.2f ms" %
          tuple(bench.median(column) for column in zip(*syncs)))
    print("create and start, durable, 32 callers: %s a second (median of the rounds' %s)" %
          ("%.0f" % rate, ", ".join("%.0f" % run["create_per_s"] for run in busy)))
    bench.table(["call", "count", "p50 ms", "p99 ms", "max ms"],
                [percentiles("get", quiet, "GetVm, idle"),
                 percentiles("get", loaded, "GetVm, while 32 create"),
                 percentiles("create", loaded, "CreateVm")] +
                [row for size, run in pages for row in
                 (percentiles("page", run, "ListVms, pages of %d of %d" % (size, run["vms"])),
                  percentiles("get", run, "GetVm beside it"))])
    longest = max(run["get_max_ms"] for _, run in pages)
    return [("durable create+start a second, 32 callers", "%.0f" % rate, ">= 2000",
             bench.verdict(rate >= 2000)),
            ("GetVm p99 under that load, of idle", "%.1fx" % ratio, "<= 3x",
             bench.verdict(ratio <= 3)),
            ("ListVms of 10 000: longest GetVm beside it", "%.1f ms" % longest, "no stall", "")]
