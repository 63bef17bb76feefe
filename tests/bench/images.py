# SPDX-License-Identifier: Apache-2.0
"""Templates, by bench_images: clones on an XFS of its own, the check of a template, the hash."""

import contextlib
import pathlib
import shutil
import subprocess
import tempfile
import time

import bench

PROGRAM = bench.PROGRAMS / "bench_images"
DISK_BYTES = 8 << 30  # of the XFS, sparse
MIB = 1 << 20
RUNS = 16


@contextlib.contextmanager
def xfs():
    """A directory on it."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="hearth-bench."))
    disk, mounted = folder / "disk", folder / "mounted"
    mounted.mkdir()
    try:
        with open(disk, "wb") as file:
            file.truncate(DISK_BYTES)
        subprocess.run(["mkfs.xfs", "-q", disk], check=True)
        subprocess.run(["mount", "-o", "loop", disk, mounted], check=True)
        try:
            yield mounted
        finally:
            subprocess.run(["umount", mounted], check=True)
    finally:
        shutil.rmtree(folder)


def make_image(path, mib):
    """In as many runs as a template may have: each costs every clone."""
    with open(path, "wb") as image, open("/dev/urandom", "rb") as chance:
        for i in range(mib):
            if i % (mib // RUNS) == 0:
                image.seek(MIB, 1)
            image.write(chance.read(MIB))


def measure(folder, name, count):
    command = [str(word) for word in (PROGRAM, folder, name, count)]
    bench.show(command)
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [float(line) for line in told.split()]


def openssl(image):
    before = time.monotonic()
    subprocess.run(["openssl", "dgst", "-sha256", image], check=True, stdout=subprocess.DEVNULL)
    return image.stat().st_size / (time.monotonic() - before)


def percentile(values, percent):
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def clones(folder, count):
    rows, rates = [], {}
    for name in "clone", "durable":
        times = measure(folder, name, count)
        rates[name] = 1e6 * len(times) / sum(times)
        rows.append([name, "%.0f" % rates[name]] +
                    ["%.0f" % percentile(times, p) for p in (50, 99, 100)])
        for clone in folder.glob("clone-*"):
            clone.unlink()
    bench.table(["one caller, XFS", "a second", "p50 us", "p99 us", "max us"], rows)
    return rates["clone"]


def run(rounds=5, count=2000, mib=512):
    with xfs() as folder:
        image = folder / "image"
        make_image(image, mib)
        rate = clones(folder, count)
        checks = measure(folder, "check", 10 * count)
        ours, theirs = [], []
        for _ in range(rounds):
            theirs.append(openssl(image))
            ours += measure(folder, "hash", 1)
    ratio = bench.median(a / b for a, b in zip(ours, theirs))
    print("check of an unchanged template: p50 %.1f us, p99 %.1f us" %
          (percentile(checks, 50), percentile(checks, 99)))
    print("SHA-256 of %d MiB in memory: %.2f GB/s, openssl dgst %.2f GB/s" %
          (mib, bench.median(ours) / 1e9, bench.median(theirs) / 1e9))
    check = percentile(checks, 50)
    return [["images: clones of a template a second, XFS", "%.0f" % rate, ">= 1000",
             bench.verdict(rate >= 1000)],
            ["images: check of an unchanged template, us", "%.1f" % check, "<= 20",
             bench.verdict(check <= 20)],
            ["images: SHA-256, of openssl dgst's speed", "%.2f" % ratio, ">= 0.95",
             bench.verdict(ratio >= 0.95)]]
