# SPDX-License-Identifier: Apache-2.0
"""What hearth can leave on a host, by kind, and how each is found.

tests/crash/wraps*.c say of every change what kind of thing it is of; a kind without a row here
fails the tests.
"""

import json
import pathlib
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

from leaks import Leaks  # noqa: E402

PINS = pathlib.Path("/sys/fs/bpf/hearth")
# Maps that have an entry for each slot, whoever has it: of budgets, counts and the tables of rules.
PREPARED = {"counters", "events", "event_budgets", "flow_budgets", "policies4", "policies6"}
SETTINGS = ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding")


def said(*words):
    """What the program says, a line each; nothing of one that fails."""
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.splitlines()


def without_counts(lines):
    """Of rules: how many packets have met them is no leak."""
    return [re.sub(r"\[\d+:\d+\]|packets \d+ bytes \d+", "", line) for line in lines
            if not line.startswith("#")]


class Host(Leaks):
    """All that there is of a hearthd that has the network namespace to itself."""

    def paths(self):
        # A template or snapshot is a client's to delete, which may not have come to it; half of one
        # is a leak.
        whole = [path.parent for name in ("templates/[!.]*/stamp.json",
                                          "snapshots/[!.]*/*/manifest.json")
                 for path in self.daemon.state.glob(name)]
        whole += [path.parent for path in whole if path.parent.parent.name == "snapshots"]
        return ("%s" % path for top in (self.daemon.state,) for path in top.rglob("*")
                if path.name != "hearth.db-journal" and
                not any(path == one or one in path.parents for one in whole))

    def addresses(self):
        return said("ip", "-o", "address", "show", "scope", "global")

    def routes(self):
        return (*said("ip", "route", "show", "table", "all"),
                *(line for line in said("ip", "-6", "route", "show", "table", "all")
                  if "multicast" not in line))

    def neighbours(self):
        return (*said("ip", "neighbour", "show"), *said("ip", "-6", "neighbour", "show"))

    def tc_filters(self):
        for _, link in socket.if_nameindex():
            for line in said("tc", "qdisc", "show", "dev", link):
                yield "%s: %s" % (link, line)

    def rules(self):
        return without_counts(said("nft", "list", "ruleset"))

    def chains(self):
        return without_counts((*said("iptables-save"), *said("ip6tables-save")))

    def pins(self):
        return ("%s" % path for path in PINS.rglob("*"))

    def map_entries(self):
        for path in PINS.rglob("*"):
            if path.is_dir() or path.name in PREPARED:
                continue
            for entry in json.loads("".join(said("bpftool", "-j", "map", "dump", "pinned",
                                                 str(path))) or "[]"):
                yield "%s: %s" % (path.name, entry.get("key"))

    def settings(self):
        for name in SETTINGS:
            yield "%s=%s" % (name, pathlib.Path("/proc/sys", name).read_text().strip())

    def records(self):
        """VMs, with what is leased to them: slots, addresses, users. Of a copy: hearthd lets nobody
        else read its database."""
        with tempfile.TemporaryDirectory(prefix="hearth-copy.") as folder:
            for name in ("hearth.db", "hearth.db-wal"):
                shutil.copy(self.daemon.state / name, folder)
            store = sqlite3.connect(pathlib.Path(folder, "hearth.db"))
            try:
                return ["vm %s" % row for row in store.execute("select vm_id from vms")]
            finally:
                store.close()

    # By the names of tests/crash/wraps*.c.
    CHECKS = {
        "file": paths,
        "process": Leaks.processes,
        "vmm": Leaks.processes,
        "mount": Leaks.mounts,
        "control-group": Leaks.cgroups,
        "link": Leaks.links,
        "address": addresses,
        "route": routes,
        "neighbour": neighbours,
        "tc-filter": tc_filters,
        "rule": rules,
        "chain": chains,
        "pin": pins,
        "map-entry": map_entries,
        "setting": settings,
        "record": records,
    }

    def look(self):
        """Everything there is: kind and thing."""
        return {(kind, str(thing)) for kind, find in self.CHECKS.items() for thing in find(self)}

    def keep(self):
        """What there is now belongs to the node; what comes after it is a leak once VMs are gone."""
        self.before = self.look()

    def left(self):
        """Also what is gone of the node's own."""
        now = self.look()
        return (["%s: %s" % pair for pair in sorted(now - self.before)] +
                ["gone: %s: %s" % pair for pair in sorted(self.before - now)])

    def of_vms(self, kind):
        """How much of a kind there is beyond what is the node's."""
        return sum(1 for thing in self.CHECKS[kind](self)
                   if (kind, str(thing)) not in self.before)
