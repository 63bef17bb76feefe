# SPDX-License-Identifier: Apache-2.0
"""What runs in a Linux guest on QEMU, through hearthd, and by hand over the same port.

Measuring is done by this file as a program of its own, in the tests' environment, where grpcio is:
guest.py ROUNDS PINGS STARTS BYTES, with the figures as JSON.
"""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import uuid

import bench

if __name__ == "__main__":
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # hearthd ends under its clients
    sys.path[:0] = [str(bench.ROOT / "tests" / folder) for folder in ("integration", "e2e")]

    import guest_host
    from harness import G, Hearthd, V

PYTHON = bench.CACHE / "venv/bin/python"
GUEST = pathlib.Path(os.environ.get("HEARTH_GUEST", bench.CACHE / "guest"))
DAEMON = bench.PROGRAMS / "hearth-guest"
ARGS = "console=ttyS0 reboot=t panic=1 quiet"
BOOT_SECONDS = 120
OPEN = (20, 60)  # programs at once, for memory
API, SEEN = "through hearthd", "  as hearthd saw it"
PORT, ALONE = "by hand, over the VM's port", "by hand, no guest"


def ms_since(begun):
    return 1000 * (time.monotonic() - begun)


class Api:
    """The guest of a VM, by GuestService."""

    def __init__(self, node, vm_id):
        self.guest = node.connect(node.tcp).guest
        self.node, self.vm_id = node, vm_id
        self.ping()

    def ping(self):
        """Until the answer, and of that the way from hearthd to the guest and back; in ms."""
        begun = time.monotonic()
        answer = self.guest.Ping(G.PingRequest(vm_id=self.vm_id), timeout=BOOT_SECONDS)
        return ms_since(begun), answer.round_trip.ToMicroseconds() / 1000

    def exec(self, *command):
        request = G.ExecRequest(vm_id=self.vm_id, exec_id=str(uuid.uuid4()), end_of_input=True,
                                program=G.ExecProgram(command=command))
        return self.guest.Exec(iter([request]), timeout=600)

    def begin(self):
        """Of a program: until it runs, and until it says something; in ms."""
        begun = time.monotonic()
        answers = self.exec("echo", "here")
        next(answers)
        runs = ms_since(begun)
        next(answers)
        says = ms_since(begun)
        list(answers)
        return runs, says

    def pour(self, count):
        """Megabytes of output a second, and milliseconds of hearthd's CPU a megabyte."""
        cpu, begun = bench.cpu_seconds(self.node.pid), time.monotonic()
        answers = self.exec("head", "-c", str(count), "/dev/zero")
        heard = sum(len(answer.output) for answer in answers)
        took = time.monotonic() - begun
        check_heard(heard, count)
        return count / 1e6 / took, 1e9 * (bench.cpu_seconds(self.node.pid) - cpu) / count

    def daemon_kib(self):
        """What the guest's daemon has resident, by the guest's word."""
        ran = self.guest.Run(G.RunRequest(vm_id=self.vm_id, command=[
            "sh", "-c", "grep VmRSS /proc/$(pidof hearth-guest)/status"]), timeout=60)
        return int(ran.output.split()[1])


class ByHand:
    """The same of a daemon that nobody else talks to, over its socket."""

    def __init__(self, path):
        self.host = guest_host.Host(path)
        self.host.greet(str(uuid.uuid4()))
        self.ping()

    def close(self):
        self.host.close()

    def ping(self):
        begun = time.monotonic()
        self.host.call("ping")
        return (ms_since(begun),)

    def begin(self):
        begun = time.monotonic()
        number = self.host.start("echo", "here")
        runs = ms_since(begun)
        self.host.hear_until(lambda: self.host.streams[number].heard)
        says = ms_since(begun)
        self.host.finish(number)
        return runs, says

    def pour(self, count):
        begun = time.monotonic()
        number = self.host.start("head", "-c", str(count), "/dev/zero")
        self.host.send(stream=number, credit=count)
        heard = drain(self.host)
        took = time.monotonic() - begun
        check_heard(heard, count)
        return (count / 1e6 / took,)


def drain(host):
    """The bytes of output that come until a program ends, not decoded: whoever reads is not to be
    what limits it."""
    text = paddings = 0
    rest = host.bytes
    while True:
        *lines, rest = rest.split(b"\n")
        for line in lines:
            place = line.find(b'"data":"')
            if place >= 0:
                text += len(line) - place - len(b'"data":""}')
                paddings += line.count(b"=", -4)
            elif b'"exit"' in line:
                host.bytes = rest
                return text * 3 // 4 - paddings
        more = host.socket.recv(2**20)
        if not more:
            raise EOFError("the guest is gone")
        rest += more


def check_heard(heard, count):
    if heard != count:
        raise RuntimeError("heard %d bytes of %d" % (heard, count))


def figures(way, pings, starts, count):
    """Each as a list of columns."""
    def columns(rows):
        return list(zip(*rows))

    return {"ping": columns(way.ping() for _ in range(pings)),
            "begin": columns(way.begin() for _ in range(starts)),
            "pour": columns([way.pour(count)])}


def resident(api):
    """KiB, of hearthd and of the guest's daemon."""
    return [bench.memory_kib(api.node.pid)["rss"], api.daemon_kib()]


def memory(api):
    """Resident with the guest idle, and with programs open in it: rows of words and KiB."""
    rows, programs = [["a guest, idle", *resident(api)]], []
    for count in OPEN:
        more = [api.exec("sleep", "1000") for _ in range(count - len(programs))]
        for program in more:
            next(program)
        programs += more
        rows.append(["%d programs open" % count, *resident(api)])
    for program in programs:
        program.cancel()
    return rows


@contextlib.contextmanager
def alone():
    """A daemon on this machine; its directory has to be on a tmpfs, or it mounts one."""
    with tempfile.TemporaryDirectory(prefix="hearth-bench.", dir="/dev/shm") as folder:
        path = pathlib.Path(folder) / "host.sock"
        process = subprocess.Popen([DAEMON, "--dir", folder, "--socket", path])
        try:
            bench.wait_for(path.exists, "the daemon listens")
            yield path
        finally:
            process.terminate()
            process.wait()


def boot(node):
    return node.vms.CreateVm(V.CreateVmRequest(vm_id="bench", spec=V.VmSpec(
        desired_state=V.DESIRED_STATE_RUNNING, boot=V.Boot(
            kernel_path=str(GUEST / "vmlinuz"), initrd_path=str(GUEST / "initrd"),
            boot_args=ARGS))), timeout=BOOT_SECONDS)


def measure(rounds, *counts):
    """A round has each way once; the port is hearthd's while that runs."""
    told = {name: [] for name in (API, PORT, ALONE)}
    node = Hearthd("--log-level", "error", backend="qemu", tcp=True)
    with contextlib.closing(node), alone() as path:
        node.start()
        told["memory"] = [["no VM", bench.memory_kib(node.pid)["rss"], ""]]
        vm = boot(node)
        told["memory"] += memory(Api(node, vm.vm_id))
        for number in range(rounds):
            api = Api(node, vm.vm_id)
            told[API].append(figures(api, *counts))
            if number == 0:
                told["memory"].append(["after one round", *resident(api)])
            node.terminate()
            for name, socket in ((PORT, node.run_dir(vm) / "guest.sock"), (ALONE, path)):
                with contextlib.closing(ByHand(socket)) as way:
                    told[name].append(figures(way, *counts))
            node.start()
    return told


def p99(values):
    return sorted(values)[len(values) * 99 // 100]


def column(rounds, key, place=0):
    """All rounds' values of one measure."""
    return [value for told in rounds for value in told[key][place]]


def ratio(told, key, place=0, to=0):
    """Of hearthd's figure to that of the port, the median of the rounds' own."""
    return bench.median(bench.median(api[key][place]) / bench.median(port[key][to])
                        for api, port in zip(told[API], told[PORT]))


def times(told):
    rows = []
    for name, rounds, place in ((API, told[API], 0), (SEEN, told[API], 1), (PORT, told[PORT], 0),
                                (ALONE, told[ALONE], 0)):
        pings = column(rounds, "ping", place)
        rows.append([name, "%.3f" % bench.median(pings), "%.3f" % p99(pings)])
        rows[-1] += ["", "", ""] if name == SEEN else [
            "%.2f" % bench.median(column(rounds, "begin", 0)),
            "%.2f" % bench.median(column(rounds, "begin", 1)),
            "%.1f" % bench.median(column(rounds, "pour"))]
    print("medians of %d rounds: ms, and MB of output a second" % len(told[API]))
    bench.table(["", "ping", "p99", "program runs", "first output", "MB/s"], rows)


def report(told):
    times(told)
    bench.table(["resident, KiB", "hearthd", "hearth-guest"], told["memory"])
    none, idle, *_, most, _ = (row[1] for row in told["memory"])
    return [(what, value, "report", "") for what, value in (
        ("guest: Ping, to one by hand", "%.2f" % ratio(told, "ping")),
        ("guest: of that as hearthd saw it", "%.2f" % ratio(told, "ping", 1)),
        ("guest: a program's first output, to one by hand", "%.2f" % ratio(told, "begin", 1, 1)),
        ("guest: MB/s of output, to those by hand", "%.2f" % ratio(told, "pour")),
        ("guest: hearthd's CPU per MB of output",
         "%.1f ms" % bench.median(column(told[API], "pour", 1))),
        ("guest: hearthd, for the first guest", "%d KiB" % (idle - none)),
        ("guest: hearthd, per open program", "%.0f KiB" % ((most - idle) / OPEN[-1])),
        ("guest: hearth-guest, resident, at most",
         "%d KiB" % max(row[2] for row in told["memory"][1:])),
        ("guest: hearth-guest's file", "%.0f KiB" % (DAEMON.stat().st_size / 1024)))]


def run(rounds=5, pings=400, starts=40, count=40_000_000):
    if not shutil.which("qemu-system-x86_64") or not PYTHON.exists():
        return [("guest", "no QEMU, or no environment of the tests", "", "not measured")]
    subprocess.run([bench.ROOT / "deploy/make-guest", GUEST, DAEMON], check=True)
    command = [PYTHON, "-B", __file__, *(str(n) for n in (rounds, pings, starts, count))]
    bench.show(command)
    return report(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))


if __name__ == "__main__":
    json.dump(measure(*(int(word) for word in sys.argv[1:])), sys.stdout)
