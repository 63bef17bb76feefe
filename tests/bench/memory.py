# SPDX-License-Identifier: Apache-2.0
"""hearthd empty, per VM at 10 000 of them, a keeper's own memory and that of a guest's daemon."""

import json
import os
import pathlib
import socket
import subprocess
import tempfile
import time

import bench

VMS = 10000
OUTPUT = 100_000_000  # bytes that hearth-guest passes on
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


def pass_output(host):
    """Of one program, whose every line of output is credited."""
    lines = host.makefile("r")

    def say(**members):
        host.sendall(json.dumps(members).encode() + b"\n")

    say(hello="bench", version=1)
    say(id=1, op="exec", argv=["head", "-c", str(OUTPUT), "/dev/zero"])
    for line in lines:
        said = json.loads(line) if line.strip() else {}
        if "data" in said:
            say(stream=1, credit=len(said["data"]) // 4 * 3)
        if "exit" in said:
            return


def of_guest():
    """hearth-guest before it has done anything, and after it has passed output on."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        path = pathlib.Path(folder) / "host.sock"
        command = [str(bench.PROGRAMS / "hearth-guest"), "--dir", folder, "--socket", str(path)]
        bench.show(command)
        daemon = subprocess.Popen(command)
        try:
            bench.wait_for(path.exists, "hearth-guest listens")
            idle = bench.memory_kib(daemon.pid)
            with socket.socket(socket.AF_UNIX) as host:
                host.connect(str(path))
                pass_output(host)
                return idle, bench.memory_kib(daemon.pid)
        finally:
            daemon.terminate()
            daemon.wait()


def run():
    empty, full = of_hearthd()
    each = {name: 1024 * (full[name] - empty[name]) / VMS for name in full}
    idle, used = of_guest()
    rows = [["hearthd, empty, KiB", empty], ["hearthd, %d VMs, KiB" % VMS, full],
            ["  more per VM, bytes", each], ["hearth-guest, idle, KiB", idle],
            ["hearth-guest after %d MB, KiB" % (OUTPUT // 10**6), used]]
    results = [
        ("hearthd, empty, resident", "%.1f MiB" % (empty["rss"] / 1024), "< 24 MiB",
         bench.verdict(empty["rss"] < 24 * 1024)),
        ("hearthd, empty, private dirty", "%.1f MiB" % (empty["dirty"] / 1024), "< 4 MiB",
         bench.verdict(empty["dirty"] < 4 * 1024)),
        ("per in-memory VM at 10 000", "%.0f B" % each["rss"], "< 4096 B",
         bench.verdict(each["rss"] < 4096)),
        ("hearth-guest, idle, resident", "%d KiB" % idle["rss"], "report", ""),
        ("hearth-guest after %d MB" % (OUTPUT // 10**6), "%d KiB" % used["rss"], "report", ""),
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
