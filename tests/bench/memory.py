# SPDX-License-Identifier: Apache-2.0
"""hearthd empty, per VM at 10 000 of them, and a keeper's own memory."""

import json
import os
import pathlib
import subprocess
import time

import bench

VMS = 10000
GUEST = pathlib.Path(os.environ.get("HEARTH_BENCH_GUEST", bench.PROGRAMS.parent / "guest/guest.elf"))


def of_hearthd():
    hearthd = bench.Hearthd("--log-level", "error")
    with hearthd.running() as pid:
        bench.show(hearthd.command)
        time.sleep(5)
        empty = bench.memory_kib(pid)
        bench.load(hearthd, "fill", count=VMS)
        time.sleep(2)
        full = bench.memory_kib(pid)
    return empty, full


def keeper_pid(hearthd, vm_id):
    """From GetVm, which says so itself."""
    answer = subprocess.run([str(bench.PROGRAMS / "hearthctl"), "--address", hearthd.address,
                             "get", vm_id, "--output", "json"],
                            check=True, stdout=subprocess.PIPE).stdout
    return json.loads(answer)["status"]["resolved"]["keeperPid"]


def of_keeper():
    hearthd = bench.Hearthd(backend="qemu")
    ctl = [str(bench.PROGRAMS / "hearthctl"), "--address", hearthd.address]
    create = ctl + ["create", "bench", "--start", "--kernel", str(GUEST)]
    with hearthd.running():
        bench.show(create)
        subprocess.run(create, check=True, stdout=subprocess.DEVNULL)
        try:
            time.sleep(3)
            return bench.memory_kib(int(keeper_pid(hearthd, "bench")))
        finally:
            subprocess.run(ctl + ["destroy", "bench"], check=True, stdout=subprocess.DEVNULL)


def run():
    empty, full = of_hearthd()
    each = {name: 1024 * (full[name] - empty[name]) / VMS for name in full}
    rows = [["hearthd, empty, KiB", empty], ["hearthd, %d VMs, KiB" % VMS, full],
            ["  more per VM, bytes", each]]
    results = [
        ("hearthd, empty, resident", "%.1f MiB" % (empty["rss"] / 1024), "< 24 MiB",
         bench.verdict(empty["rss"] < 24 * 1024)),
        ("hearthd, empty, private dirty", "%.1f MiB" % (empty["dirty"] / 1024), "< 4 MiB",
         bench.verdict(empty["dirty"] < 4 * 1024)),
        ("per in-memory VM at 10 000", "%.0f B" % each["rss"], "< 4096 B",
         bench.verdict(each["rss"] < 4096)),
    ]
    if GUEST.exists():
        keeper = of_keeper()
        rows.append(["keeper of a running QEMU, KiB", keeper])
        results.append(("keeper, private dirty", "%d KiB" % keeper["dirty"], "< 512 KiB",
                        bench.verdict(keeper["dirty"] < 512)))
    else:
        results.append(("keeper, private dirty", "no guest", "< 512 KiB", "not measured"))
    print()
    bench.table(["", "resident", "private", "private dirty"],
                [[what, *("%.0f" % figures[name] for name in ("rss", "private", "dirty"))]
                 for what, figures in rows])
    return results
