#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""oci_image.py KIND PATH: makes an OCI image for tests, of which KIND is a function below: an archive
if PATH ends with .tar, else a layout directory. With the standard library alone."""

import gzip
import hashlib
import io
import json
import os
import platform
import struct
import sys
import tarfile

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
HOST = {"os": "linux", "architecture": ARCHITECTURE}
OTHER = {"os": "linux", "architecture": "s390x"}
OCI = "application/vnd.oci.image."
LAYER = OCI + "layer.v1.tar"
MANIFEST = OCI + "manifest.v1+json"
NET_RAW = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)  # VFS_CAP_REVISION_2, effective


def plain(data):
    return LAYER, data


def gzipped(data):
    return LAYER + "+gzip", gzip.compress(data, 6, mtime=0)


def zstd(data):
    """A frame of raw blocks (RFC 8878)."""
    blocks = [data[at:at + 65536] for at in range(0, len(data), 65536)]
    frame = b"\x28\xb5\x2f\xfd\x00\x58"
    for i, block in enumerate(blocks):
        frame += struct.pack("<I", len(block) << 3 | (i == len(blocks) - 1))[:3] + block
    return LAYER + "+zstd", frame


class Tar:
    """A layer in the making; a method for each type of entry."""

    def __init__(self):
        self.out = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.out, mode="w", format=tarfile.PAX_FORMAT,
                                errors="surrogateescape")

    def add(self, name, kind, data=b"", **more):
        info = tarfile.TarInfo(name)
        info.type = kind
        info.size = len(data)
        info.mtime = 1600000000
        info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
        for key, value in more.items():
            setattr(info, key, value)
        self.tar.addfile(info, io.BytesIO(data))
        return self

    def file(self, name, data=b"", **more):
        return self.add(name, tarfile.REGTYPE, data, **more)

    def dir(self, name, **more):
        return self.add(name, tarfile.DIRTYPE, **more)

    def symlink(self, name, target):
        return self.add(name, tarfile.SYMTYPE, linkname=target)

    def link(self, name, target):
        return self.add(name, tarfile.LNKTYPE, linkname=target)

    def device(self, name, kind, major, minor):
        return self.add(name, kind, devmajor=major, devminor=minor, mode=0o620)

    def bytes(self):
        self.tar.close()
        return self.out.getvalue()


class Layout:
    def __init__(self):
        self.files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}
        self.index = []

    def blob(self, data, media_type, **more):
        digest = hashlib.sha256(data).hexdigest()
        self.files["blobs/sha256/" + digest] = data
        return {"mediaType": media_type, "digest": "sha256:" + digest, "size": len(data), **more}

    def json(self, value, media_type, **more):
        return self.blob(json.dumps(value).encode(), media_type, **more)

    def manifest(self, layers, for_platform=HOST, **more):
        config = self.json({**for_platform, "rootfs": {"type": "layers", "diff_ids": []}},
                           OCI + "config.v1+json")
        return self.json({"schemaVersion": 2, "mediaType": MANIFEST, "config": config,
                          "layers": [self.blob(data, kind) for kind, data in layers]},
                         MANIFEST, **more)

    def image(self, *layers, name=None, **more):
        names = {"org.opencontainers.image.ref.name": name} if name else {}
        self.index.append(self.manifest(layers, annotations=names, **more))
        return self

    def finish(self):
        self.files["index.json"] = json.dumps({"schemaVersion": 2,
                                               "manifests": self.index}).encode()
        return self.files


def small(text=b"hello\n"):
    return gzipped(Tar().dir("etc/").file("etc/motd", text).bytes())


def one(*layers, **more):
    return Layout().image(*layers, **more).finish()


def whole():
    """All that a file can be, in three layers that are compressed in three ways."""
    lowest = Tar()
    lowest.dir("./", mode=0o711).dir("bin/").dir("tmp/", mode=0o1777).dir("usr/lib/")
    lowest.symlink("lib", "usr/lib").symlink("abs", "/usr/lib")
    lowest.symlink("long", "x" * 100)
    lowest.file("bin/su", b"su", mode=0o4755).file("bin/wall", b"wall", mode=0o2755, gid=5)
    lowest.link("bin/su2", "bin/su")
    lowest.file("bin/ping", b"ping", pax_headers={
        "SCHILY.xattr.security.capability": NET_RAW.decode("utf-8", "surrogateescape"),
        "SCHILY.xattr.user.note": "kept", "SCHILY.xattr.trusted.note": "left out"})
    lowest.file("home/user/file", b"mine", uid=1000, gid=100001, mode=0o600)
    lowest.device("dev/null", tarfile.CHRTYPE, 1, 3)
    lowest.device("dev/sda1", tarfile.BLKTYPE, 8, 1)
    lowest.device("dev/far", tarfile.BLKTYPE, 259, 70000)
    lowest.add("dev/fifo", tarfile.FIFOTYPE)
    lowest.file("big", bytes(i * 7 & 0xff for i in range(300000)))
    lowest.file("deep/" + "d" * 90 + "/" + "e" * 200, b"deep")
    lowest.file("u\u0308ber", b"decomposed").file("\udcff\udcfe", b"no UTF-8")
    lowest.symlink("decomposed", "u\u0308ber").link("hard", "u\u0308ber")
    lowest.file("gone", b"gone").file("dir/gone", b"gone").file("dir/kept", b"kept")
    lowest.file("opaque/below", b"gone").file("opaque/sub/below", b"gone")
    lowest.file("replaced/below", b"gone").file("changed", b"before")
    middle = Tar()
    middle.file(".wh.gone").file("dir/.wh.gone").file("opaque/above", b"above")
    middle.file("opaque/sub/above", b"above").file("opaque/.wh..wh..opq")
    middle.file("opaque/late", b"late").file(".wh.not-there").file("no/dir/.wh.not-there")
    middle.file("replaced", b"file").file("changed", b"after").file("lib/library", b"library")
    middle.file("abs/other", b"other")
    highest = Tar().file("/absolute", b"absolute").link("linked", "changed").dir("bin/", uid=7)
    highest.file("again", b"again").file(".wh.again")
    return one(gzipped(lowest.bytes()), zstd(middle.bytes()), plain(highest.bytes()))


def many_files():
    tar = Tar()
    for i in range(3000):
        tar.file("dir/%05d-%s" % (i, "n" * 60), b"%d" % i).dir("dirs/%d" % i)
    return one(gzipped(tar.bytes()))


def large():
    return one(gzipped(Tar().file("zeros", bytes(40 << 20)).file("data", os.urandom(9 << 20)).bytes()))


def several():
    return Layout().image(small(b"a"), name="a").image(small(b"b"), name="b").finish()


def same_twice():
    return Layout().image(small(), name="a").image(small(), name="a").finish()


def platforms():
    layout = Layout()
    choice = [layout.manifest([small(b"other")], OTHER, platform=OTHER),
              layout.manifest([small(b"mine")], platform=HOST),
              layout.manifest([small(b"unknown")], platform={"os": "unknown", "architecture": "unknown"})]
    layout.index = [layout.json({"schemaVersion": 2, "manifests": choice}, OCI + "index.v1+json")]
    return layout.finish()


def other_platform():
    return one(small(), for_platform=OTHER)


def other_platforms():
    return one(small(), for_platform=OTHER, platform=OTHER)


def damage(files, which, change):
    name = [n for n, data in files.items() if n.startswith("blobs/") and which(data)][-1]
    files[name] = change(files[name])
    return files


def flip(data):
    return data[:-10] + bytes([data[-10] ^ 1]) + data[-9:]


def is_json(data):
    return data.startswith(b"{")


def flipped_layer():
    tar = Tar().file("noise", os.urandom(100000))
    return damage(one(plain(tar.bytes())), lambda d: not is_json(d), flip)


def flipped_gzip():
    return damage(one(small()), lambda d: not is_json(d), flip)


def flipped_manifest():
    return damage(one(small()), lambda d: b'"layers"' in d, lambda d: d.replace(b'2', b'3', 1))


def short_layer():
    return damage(one(small()), lambda d: not is_json(d), lambda d: d[:-20])


def missing_layer():
    files = one(small())
    del files[[n for n, data in files.items() if n.startswith("blobs/") and not is_json(data)][0]]
    return files


def encrypted():
    return one((LAYER + "+gzip+encrypted", small()[1]))


def sha512():
    layout = Layout().image(small())
    layout.index[0]["digest"] = "sha512:" + "0" * 80
    return layout.finish()


def digest_leads_out():
    layout = Layout().image(small())
    layout.index[0]["digest"] = "sha256:../../../etc/passwd"
    return layout.finish()


def no_json():
    return {"oci-layout": b"{}", "index.json": b"[" * 100000}


def docker_save():
    return {"manifest.json": b"[]", "repositories": b"{}"}


def nothing():
    return {"readme": b"no image"}


def hostile(fill):
    tar = Tar()
    fill(tar)
    return one(gzipped(tar.bytes()))


def parent_path():
    return hostile(lambda t: t.file("../../etc/evil", b"evil"))


def parent_within():
    return hostile(lambda t: t.file("a/../../etc/evil", b"evil"))


def links_out():
    """Each of these is the image's own /etc."""
    return hostile(lambda t: t.symlink("absolute", "/etc").file("absolute/a", b"evil")
                   .symlink("relative", "../../../../../../etc").file("relative/b", b"evil")
                   .symlink("root", "/").file("root/etc/c", b"evil"))


def link_loop():
    return hostile(lambda t: t.symlink("a", "b").symlink("b", "a").file("a/evil", b"evil"))


def hard_link_out():
    return hostile(lambda t: t.link("passwd", "/etc/passwd"))


def hard_link_up():
    return hostile(lambda t: t.link("passwd", "../../../etc/passwd"))


def hard_link_to_dir():
    return hostile(lambda t: t.dir("dir/").link("other", "dir"))


def below_file():
    return hostile(lambda t: t.file("file", b"x").file("file/below", b"y"))


def long_name():
    return hostile(lambda t: t.file("n" * 256, b"x"))


def root_is_file():
    return hostile(lambda t: t.symlink("./", "x"))


def long_attribute():
    return hostile(lambda t: t.file("x", pax_headers={"SCHILY.xattr.user.a": "v" * 10000}))


def deep():
    return hostile(lambda t: t.dir("/".join(["d"] * 1500)))


def huge_file():
    info = tarfile.TarInfo("huge")
    info.size = 1 << 50
    return one(gzipped(info.tobuf(tarfile.GNU_FORMAT) + bytes(512)))


def bomb():
    """64 KiB that become 64 MiB, of 64 files that are no more than 1 MiB each."""
    return hostile(lambda t: [t.file("zeros-%d" % i, bytes(1 << 20)) for i in range(64)])


def evil_names():
    return Layout().image(small(b"a"), name="a\n\x1b[31m").image(small(b"b"), name="b").finish()


def many_entries():
    entry = tarfile.TarInfo("same").tobuf(tarfile.USTAR_FORMAT)
    return one((LAYER + "+gzip", gzip.compress(entry * ((1 << 20) + 1), 1, mtime=0)))


def no_tar():
    return one(plain(b"this is no archive at all" * 1000))


def half_tar():
    return one(plain(Tar().file("x", bytes(100000)).bytes()[:5000]))


def write(files, path):
    if not path.endswith(".tar"):
        for name, data in files.items():
            os.makedirs(os.path.dirname(os.path.join(path, name)), exist_ok=True)
            with open(os.path.join(path, name), "wb") as file:
                file.write(data)
        return
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


if __name__ == "__main__":
    write(globals()[sys.argv[1]](), sys.argv[2])
