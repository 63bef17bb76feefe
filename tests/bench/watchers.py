# SPDX-License-Identifier: Apache-2.0
"""1 000 WatchVms streams from one process: how soon all have a change, and what one costs."""

import json
import subprocess
import time

import bench

WATCHERS = 1000
CONNECTIONS = 10


class Client:
    """The load client, held at the points where hearthd is measured."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)

    def until(self, word):
        line = self.process.stdout.readline().strip()
        if line != word:
            raise RuntimeError("load said '%s', not '%s'" % (line, word))

    def go_on(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()


def run(changes=20):
    hearthd = bench.Hearthd("--log-level", "error")
    with hearthd.running() as pid:
        bench.load(hearthd, "fill", count=1)
        command = bench.load_command(hearthd, "watch", count=WATCHERS, connections=CONNECTIONS,
                                     changes=changes)
        bench.show(command)
        client = Client(command)
        try:
            client.until("connected")
            before = bench.memory_kib(pid)
            client.go_on()
            client.until("watching")
            time.sleep(2)
            idle = bench.memory_kib(pid)
            cpu = bench.cpu_seconds(pid)
            client.go_on()
            client.until("changed")
            cpu = bench.cpu_seconds(pid) - cpu
            after = bench.memory_kib(pid)
            client.go_on()
            figures = json.loads(client.process.stdout.read())
        finally:
            client.process.stdin.close()
            client.process.wait(30)
    return report(figures, before, idle, after, cpu / changes)


def report(figures, before, idle, after, cpu):
    each = (idle["rss"] - before["rss"]) / WATCHERS
    print("\n%d watchers over %d connections, %d changes" %
          (WATCHERS, CONNECTIONS, figures["all_count"]))
    bench.table(["from the change's call until", "median ms", "max ms"],
                [["the caller has its answer", "%.1f" % figures["answer_p50_ms"],
                  "%.1f" % figures["answer_max_ms"]],
                 ["half of the watchers have it", "%.1f" % figures["half_p50_ms"],
                  "%.1f" % figures["half_max_ms"]],
                 ["all watchers have it", "%.1f" % figures["all_p50_ms"],
                  "%.1f" % figures["all_max_ms"]]])
    print("hearthd: %.1f ms of CPU a change, %.0f us an event" %
          (1000 * cpu, 1e6 * cpu / WATCHERS))
    print("hearthd: %.1f KiB resident per idle watcher, %.1f KiB after the changes" %
          (each, (after["rss"] - before["rss"]) / WATCHERS))
    return [("1 000 watchers: until all have a change", "%.1f ms" % figures["all_p50_ms"],
             "report", ""),
            ("memory per idle watcher", "%.1f KiB" % each, "report", "")]
