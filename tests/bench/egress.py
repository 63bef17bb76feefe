# SPDX-License-Identifier: Apache-2.0
"""The egress filter's cost, by bench_egress: a packet's, and that of changing what is in force."""

import collections
import json
import subprocess

import bench

PROGRAM = bench.PROGRAMS / "bench_egress"
RULES = ("10", "100", "1000", "10000")
TRACKED = ["bpf, %s rules" % count for count in RULES] + ["bpf, 1000 VMs"]


def measure(name, count):
    """What it tells: figures by (measure, variant)."""
    command = [PROGRAM, name, str(count)]
    bench.show(command)
    told = subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE).stdout
    figures = collections.defaultdict(list)
    for line in told.splitlines():
        row = json.loads(line)
        figures[row["measure"], row["variant"]].append(row["value"])
    return figures


def ratio(figures, variant, to):
    """Of the least; and the median of the rounds' own."""
    ours, theirs = figures["packet", variant], figures["packet", to]
    return min(ours) / min(theirs), bench.median(a / b for a, b in zip(ours, theirs))


def p99(values):
    return sorted(values)[len(values) * 99 // 100 - 1] if len(values) > 1 else values[0]


def packets(rounds):
    figures = measure("packets", rounds)
    rows = []
    for (_, variant), values in figures.items():
        base = "none, new flows" if "new flows" in variant else "none"
        least, usual = ratio(figures, variant, base)
        rows.append([variant, "%.0f" % min(values), "%.0f" % bench.median(values),
                     "%.2f" % least, "%.2f" % usual])
    print("ns of CPU of one packet, %d interleaved rounds" % rounds)
    bench.table(["", "least", "median", "to none, least", "median of rounds"], rows)

    tracked = [ratio(figures, variant, "none")[0] for variant in TRACKED]
    flat = max(tracked) / min(tracked)
    denied = ratio(figures, "bpf, denied", "none")[0]
    results = [["egress: tracked packet, to no filter", "%.2f" % max(tracked), "<= 1.35",
                bench.verdict(max(tracked) <= 1.35)],
               ["egress: 10 to 10000 rules, 1 to 1000 VMs, most to least", "%.2f" % flat,
                "flat: <= 1.10", bench.verdict(flat <= 1.10)],
               ["egress: denied packet, to no filter", "%.2f" % denied, "< 1",
                bench.verdict(denied < 1)]]
    for what, target in (("1000 rules", 0.25), ("1000 VMs", 0.1)):
        least = ratio(figures, "bpf, new flows, " + what, "iptables, new flows, " + what)[0]
        results.append(["egress: new flow, %s, to iptables" % what, "%.2f" % least,
                        "<= %.2f" % target, bench.verdict(least <= target)])
    return results


def times(figures, rows):
    table = []
    for words, key in rows:
        values = figures[key]
        table.append([words, "%.1f" % bench.median(values), "%.1f" % p99(values),
                      "%.1f" % max(values), len(values)])
    print("microseconds")
    bench.table(["", "median", "p99", "max", "times"], table)


def control(count):
    figures = measure("policies", count)
    for name, times_ in (("flips", 2000), ("iptables", 5), ("taps", max(2, count // 50))):
        figures.update(measure(name, times_))
    times(figures, [
        ("a VM of 100 rules beside 1000 of 100", ("add", "bpf")),
        ("the same by iptables, beside 1000 of 10", ("add", "iptables")),
        ("policy exchanged for one that others have", ("flip", "known")),
        ("for one of 100 rules that is new", ("flip", "new, 100 rules")),
        ("for a known one, while a thread sends", ("flip", "under load")),
        ("explanation", ("explain", "bpf")),
        ("tap made and configured", ("tap", "made and configured")),
        ("tap removed, of a hundred at once", ("tap", "removed, a hundred at once"))])
    add, flip = bench.median(figures["add", "bpf"]), bench.median(figures["flip", "under load"])
    tap = bench.median(figures["tap", "made and configured"])
    lost, sent = figures["lost", "lost"][0], figures["lost", "sent meanwhile"][0]
    memory = figures["memory", "kB a VM of 100 rules"][0]
    return [["egress: a VM of 100 rules added beside 1000", "%.0f us" % add, "<= 1000 us",
             bench.verdict(add <= 1000)],
            ["egress: policy exchanged under load", "%.0f us" % flip, "<= 50 us",
             bench.verdict(flip <= 50)],
            ["egress: lost of %.0f packets during 2000 exchanges" % sent, "%.0f" % lost, "0",
             bench.verdict(lost == 0 and sent > 0)],
            ["egress: tap made and configured", "%.2f ms" % (tap / 1000), "<= 2 ms",
             bench.verdict(tap <= 2000)],
            ["egress: memory of a VM with 100 rules", "%.0f KiB" % memory, "", ""]]


def run(rounds=21, count=200):
    return packets(rounds) + control(count)
