# SPDX-License-Identifier: Apache-2.0
"""Page faults, by bench_pager: hearth-pager beside the algorithm of Firecracker's example handler."""

import subprocess

import bench

PROGRAM = bench.PROGRAMS / "bench_pager"
# What is compared with the example: the row, its column, the least that it is to be.
TARGETS = (
    ("in order: 4 KiB", "times", 1.1, "4 KiB at a time, of the example's speed"),
    ("in order: window", "times", 4, "in order, of the example's speed"),
    ("clusters: recorded, beside", "times", 6, "a recorded set beside resume, of its speed"),
    ("clusters: recorded, before", "stalled", 50, "a set installed before resume, less stall"),
)
COLUMNS = ("ms", "pages/s", "times", "best", "best times", "in touch", "stalled", "stalls", "install")


def rows_of(text):
    """By name: a line's name ends where its numbers begin."""
    rows = {}
    for line in text.splitlines():
        words = line.split()
        if ":" not in line or len(words) <= len(COLUMNS):
            continue
        numbers = words[-len(COLUMNS):]
        rows[" ".join(words[:-len(COLUMNS)])] = dict(zip(COLUMNS, map(float, numbers)))
    return rows


def run(rounds=9, mib=256):
    command = [str(word) for word in (PROGRAM, rounds, mib)]
    bench.show(command)
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    print(text)
    rows = rows_of(text)
    return [("pager: " + what, "%.2f" % rows[name][column], ">= %g" % least,
             bench.verdict(rows[name][column] >= least)) for name, column, least, what in TARGETS]
