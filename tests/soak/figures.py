#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Figures of restarts and of memory, printed: figures.py [LIVES [VMS [QEMU_VMS]]].

How long a killed hearthd takes to serve again, and until all VMs are re-adopted, with so many VMs
in memory (default 1000) and on QEMU (20); and what is resident after a hundredth of so many lives
of VMs in memory (default 100 000), and after all of them. To be run alone, with the Python of the
tests' environment and what tests/run gives them: HEARTH_PROGRAMS, HEARTH_GUEST.
"""

import concurrent.futures
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

import grpc  # noqa: E402

from harness import GUEST, Client, Hearthd, N, V, memory_kib, wait_until  # noqa: E402

CALLERS = 8


def many(daemon, work, items):
    """Does that for each item, by several callers with a connection each."""
    clients = [Client(daemon.address) for _ in range(CALLERS)]
    with concurrent.futures.ThreadPoolExecutor(CALLERS) as pool:
        for future in [pool.submit(lambda client, part: [work(client, item) for item in part],
                                   client, items[n::CALLERS]) for n, client in enumerate(clients)]:
            future.result()
    for client in clients:
        client.close()


def live(client, vm_id):
    client.vms.CreateVm(V.CreateVmRequest(vm_id=vm_id, spec=V.VmSpec(
        desired_state=V.DESIRED_STATE_RUNNING)), timeout=60)
    client.vms.StopVm(V.StopVmRequest(vm_id=vm_id), timeout=60)
    client.vms.DestroyVm(V.DestroyVmRequest(vm_id=vm_id), timeout=60)


def of_memory(lives):
    """Those before the first figure fill the history, which is kept, more than once."""
    daemon = Hearthd("--qemu-binary", "/none", "--firecracker-binary", "/none", "--history", "1024")
    daemon.start()
    sizes = []
    for begin, end in (0, lives // 100), (lives // 100, lives):
        many(daemon, live, ["life-%d" % n for n in range(begin, end)])
        sizes.append(memory_kib(daemon.pid))
    print("resident after %d lives: %d KiB, after %d: %d KiB" % (lives // 100, sizes[0], lives,
                                                                 sizes[1]), flush=True)
    daemon.close()


def serving(daemon):
    """Answers are of the store: until it is open they are UNAVAILABLE, as health is NOT_SERVING."""
    try:
        daemon.node.GetNode(N.GetNodeRequest(), timeout=1)
    except grpc.RpcError:
        return False
    return True


def of_restart(vms, guests):
    daemon = Hearthd("--firecracker-binary", "/none", "--capacity-cpu-percent", "0",
                     "--capacity-memory-percent", "0")
    daemon.start()
    boot = V.Boot(kernel_path=str(GUEST / "vmlinuz"), initrd_path=str(GUEST / "initrd"),
                  boot_args="console=ttyS0 quiet")
    spec = V.VmSpec(desired_state=V.DESIRED_STATE_RUNNING)
    emulated = V.VmSpec(backend=V.BACKEND_QEMU, boot=boot, machine=V.Machine(memory_mib=128),
                        desired_state=V.DESIRED_STATE_PAUSED)
    many(daemon, lambda client, n: client.vms.CreateVm(V.CreateVmRequest(
        vm_id="vm-%d" % n, spec=spec if n < vms else emulated), timeout=600),
        range(vms + guests))
    daemon.kill()

    begun = time.monotonic()
    daemon.start(wait=False)
    wait_until(lambda: serving(daemon), "it serves")
    served = time.monotonic() - begun
    daemon.wait_adopted()
    adopted = time.monotonic() - begun
    print("%d VMs in memory and %d on QEMU: serving after %.2f s, all re-adopted after %.2f s, "
          "load %.1f" % (vms, guests, served, adopted, os.getloadavg()[0]), flush=True)
    daemon.close()


def main():
    lives, vms, guests = [int(word) for word in sys.argv[1:]] + [100000, 1000, 20][len(sys.argv) - 1:]
    of_restart(vms, guests)
    of_memory(lives)


main()
