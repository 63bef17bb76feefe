# SPDX-License-Identifier: Apache-2.0
"""The small guest's initrd with more in it: programs with their libraries, scripts, units."""

import pathlib
import re
import shutil
import subprocess
import tempfile

from harness import GUEST


def libraries(program):
    """What the loader would load for it, itself included; none for a static one, or a script."""
    said = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    return re.findall(r"(?:=> |^\s*)(/\S+) \(0x", said, re.MULTILINE)


def make_initrd(path, files):
    """@files: what is to be there, by its path in the guest. A second archive, which the kernel unpacks
    over the first."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        found = {library: library for source in files.values() for library in libraries(source)}
        found.update(files)
        for name, source in found.items():
            target = root / name.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
        names = sorted(str(entry.relative_to(root)) for entry in root.rglob("*"))
        archive = subprocess.run(["cpio", "-o", "-H", "newc", "-R", "0:0", "--quiet"], cwd=root,
                                 input="\n".join(names).encode(), stdout=subprocess.PIPE,
                                 check=True).stdout
    path.write_bytes((GUEST / "initrd").read_bytes() + archive)
