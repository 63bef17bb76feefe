# SPDX-License-Identifier: Apache-2.0
"""ImageService: templates as a foreign client sees them, and what is left when things go wrong."""

import hashlib
import os
import pathlib
import shutil
import subprocess
import unittest

import grpc

from harness import GRPCURL, Code, DaemonTest, Failure, Hearthd, I, V, wait_until
from store_host import MountedState

MIB = 1 << 20


def make_image(path, mib=4, seed=b"a"):
    """A raw image with data at its beginning and its end; its SHA-256."""
    block = hashlib.sha256(seed).digest() * 2048  # 64 KiB
    with open(path, "wb") as image:
        image.write(block)
        image.truncate(mib * MIB - len(block))
        image.seek(0, os.SEEK_END)
        image.write(block)
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


class TemplateTest(DaemonTest):
    def setUp(self):
        super().setUp()
        self.images = self.daemon.images
        self.image = self.daemon.folder / ("%s.img" % self.new_id())

    def do_import(self, template_id, path=None, sha256="", timeout=60):
        return list(self.images.ImportTemplate(
            I.ImportTemplateRequest(template_id=template_id, path=str(path or self.image),
                                    sha256=sha256), timeout=timeout))

    def template(self, **image):
        template_id = self.new_id()
        digest = make_image(self.image, **image)
        self.do_import(template_id)
        return template_id, digest

    def get_template(self, template_id):
        return self.images.GetTemplate(I.GetTemplateRequest(template_id=template_id), timeout=20)

    def delete(self, template_id, **fields):
        return self.images.DeleteTemplate(
            I.DeleteTemplateRequest(template_id=template_id, **fields), timeout=20)

    def verify(self, template_id, **fields):
        return list(self.images.VerifyTemplate(
            I.VerifyTemplateRequest(template_id=template_id, **fields), timeout=20))

    def listed(self):
        answer = self.images.ListTemplates(I.ListTemplatesRequest(), timeout=20)
        return {template.template_id: template for template in answer.templates}

    def path_of(self, template_id):
        return self.daemon.state / "templates" / template_id / "rootfs.ext4"

    def fails(self, call, *arguments, **fields):
        with self.assertRaises(grpc.RpcError) as caught:
            call(*arguments, **fields)
        return Failure(caught.exception)

    def asides(self):
        return [path for path in (self.daemon.state / "templates").iterdir()
                if path.name.startswith(".") and path.name != ".hashes"]


class ImportTest(TemplateTest):
    def test_an_image_is_copied_and_told_of(self):
        template_id, digest = self.template(mib=8)

        template = self.get_template(template_id)

        self.assertEqual(I.TEMPLATE_STATE_READY, template.state)
        self.assertEqual((8 * MIB, digest, str(self.image), 0),
                         (template.size_bytes, template.sha256, template.source, template.users))
        self.assertLess(template.allocated_bytes, MIB)
        self.assertEqual(template, self.listed()[template_id])
        self.assertEqual(digest, hashlib.sha256(self.path_of(template_id).read_bytes()).hexdigest())

    def test_the_last_message_alone_has_the_template(self):
        template_id = self.new_id()
        make_image(self.image)

        *before, last = self.do_import(template_id)

        self.assertEqual(template_id, last.template.template_id)
        self.assertFalse([message for message in before if message.HasField("template")])

    def test_what_cannot_be_is_refused_by_field(self):
        failure = self.fails(self.do_import, "-a", "relative", sha256="AB")
        self.assertEqual(Code.INVALID_ARGUMENT, failure.code)
        self.assertEqual({"template_id", "path", "sha256"}, set(failure.violations))

    def test_causes_have_codes_of_their_own(self):
        qcow = self.daemon.folder / "disk.qcow2"
        qcow.write_bytes(b"QFI\xfb" + bytes(4092))
        make_image(self.image)
        for path, digest, code in ((self.image, "0" * 64, Code.DATA_LOSS),
                                   ("/none/image", "", Code.NOT_FOUND),
                                   (qcow, "", Code.INVALID_ARGUMENT),
                                   (self.daemon.folder, "", Code.INVALID_ARGUMENT)):
            template_id = self.new_id()
            failure = self.fails(self.do_import, template_id, path, digest)
            self.assertEqual((code, "ROOTFS"), (failure.code, failure.reason), failure.message)
            self.assertEqual(Code.NOT_FOUND, self.fails(self.get_template, template_id).code)
        self.assertEqual([], self.asides())

    def test_again_with_the_digest_it_is_there_and_else_it_exists(self):
        template_id, digest = self.template()

        again = self.do_import(template_id, sha256=digest)
        self.assertEqual(digest, again[-1].template.sha256)
        self.assertEqual(Code.ALREADY_EXISTS, self.fails(self.do_import, template_id).code)

    def test_one_that_was_placed_is_found_and_stamped_when_it_is_read(self):
        template_id = self.new_id()
        self.path_of(template_id).parent.mkdir()
        digest = make_image(self.path_of(template_id))

        self.assertEqual("", self.get_template(template_id).sha256)
        self.verify(template_id)
        self.assertEqual(digest, self.get_template(template_id).sha256)

    def test_a_bit_that_flips_is_found(self):
        template_id, _ = self.template()
        path = self.path_of(template_id)
        os.chmod(path, 0o600)
        with open(path, "r+b") as image:
            image.seek(1000)
            byte = image.read(1)[0]
            image.seek(1000)
            image.write(bytes([byte ^ 1]))

        failure = self.fails(self.verify, template_id)
        self.assertEqual((Code.DATA_LOSS, "ROOTFS"), (failure.code, failure.reason))
        failure = self.fails(self.verify, template_id, if_changed=True)
        self.assertEqual(Code.DATA_LOSS, failure.code)

    def test_one_that_was_cut_off_is_shown_as_damaged(self):
        template_id, _ = self.template()
        os.truncate(self.path_of(template_id), MIB)

        template = self.get_template(template_id)

        self.assertEqual(I.TEMPLATE_STATE_DAMAGED, template.state)
        self.assertIn("size", template.problem.message)

    def test_deleted_it_is_gone(self):
        template_id, _ = self.template()

        self.delete(template_id)

        self.assertFalse(self.path_of(template_id).parent.exists())
        self.assertNotIn(template_id, self.listed())
        self.assertEqual(Code.NOT_FOUND, self.fails(self.delete, template_id).code)
        self.delete(template_id, allow_missing=True)

    def test_while_a_vm_needs_it_it_is_not_deleted(self):
        template_id, _ = self.template()
        vm = self.create(drives=[V.Drive(drive_id="root", template_id=template_id)])
        self.assertEqual(1, self.get_template(template_id).users)
        self.assertIn("ImageReady", [condition.type for condition in vm.status.conditions])

        self.fails(self.delete, template_id)

        self.daemon.restart()
        self.images = self.daemon.images
        self.fails(self.delete, template_id)
        self.vms.DestroyVm(V.DestroyVmRequest(vm_id=vm.vm_id), timeout=20)
        self.delete(template_id)

    def test_what_a_drive_is_made_of_must_be_there_and_fit(self):
        template_id, _ = self.template()
        for drive, code, words in (
                (V.Drive(template_id="none"), Code.NOT_FOUND, "template 'none' not found"),
                (V.Drive(template_id=template_id, size_mib=3), Code.INVALID_ARGUMENT,
                 "spec.drives[0].size_mib"),
                (V.Drive(template_id=template_id, path="/x"), Code.INVALID_ARGUMENT,
                 "spec.drives[0].path"),
                (V.Drive(path="/x", size_mib=8), Code.INVALID_ARGUMENT, "spec.drives[0].size_mib"),
                (V.Drive(), Code.INVALID_ARGUMENT, "spec.drives[0].path")):
            drive.drive_id = "root"
            failure = self.fails(self.create, drives=[drive])
            self.assertEqual(code, failure.code, failure.message)
            self.assertIn(words, failure.message + str(failure.violations))
        self.assertEqual(0, self.get_template(template_id).users)

    def test_a_caller_that_goes_leaves_the_import_alone(self):
        template_id = self.new_id()
        digest = make_image(self.image, mib=256)
        call = self.images.ImportTemplate(
            I.ImportTemplateRequest(template_id=template_id, path=str(self.image)), timeout=20)
        call.cancel()

        wait_until(lambda: template_id in self.listed() and
                   self.listed()[template_id].state == I.TEMPLATE_STATE_READY, "it is imported")
        self.assertEqual(digest, self.get_template(template_id).sha256)

    def test_grpcurl_follows_one(self):
        template_id = self.new_id()
        digest = make_image(self.image)
        words = '{"template_id": "%s", "path": "%s"}' % (template_id, self.image)
        said = subprocess.run([str(GRPCURL), "-plaintext", "-unix", "-d", words,
                               str(self.daemon.socket),
                               "hearth.v1.ImageService/ImportTemplate"],
                              check=True, capture_output=True, text=True, timeout=60).stdout
        self.assertIn(digest, said)

    def test_hearthctl_does_it_all(self):
        template_id = self.new_id()
        digest = make_image(self.image)

        self.assertIn(digest, self.ctl("template", "import", template_id, str(self.image)).stdout)
        self.assertIn(template_id, self.ctl("template", "list").stdout)
        self.assertIn("ready", self.ctl("template", "get", template_id).stdout)
        self.assertIn(digest, self.ctl("template", "verify", template_id).stdout)
        self.assertIn("deleted", self.ctl("template", "delete", template_id).stdout)


class RefusedPlaceTest(TemplateTest):
    flags = ("--templates-max-mib", "8", "--templates-max-image-mib", "6")

    def test_only_so_much_is_taken(self):
        make_image(self.image, mib=7)
        failure = self.fails(self.do_import, self.new_id())
        self.assertEqual((Code.INVALID_ARGUMENT, "ROOTFS"), (failure.code, failure.reason))

        with open(self.image, "wb") as image:
            image.write(os.urandom(5 * MIB))
        self.do_import(self.new_id())
        failure = self.fails(self.do_import, self.new_id())
        self.assertEqual((Code.RESOURCE_EXHAUSTED, "ROOTFS"), (failure.code, failure.reason))
        self.assertEqual([], self.asides())


class ElsewhereTest(TemplateTest):
    flags = ("--image-dirs", "/usr")

    def test_images_lie_where_they_may(self):
        make_image(self.image)
        failure = self.fails(self.do_import, self.new_id())
        self.assertEqual((Code.INVALID_ARGUMENT, "ROOTFS"), (failure.code, failure.reason))


class InterruptedTest(unittest.TestCase):
    def test_an_agent_that_dies_leaves_no_half_template(self):
        daemon = Hearthd().start()
        self.addCleanup(daemon.close)
        image = daemon.folder / "large.img"
        with open(image, "wb") as file:
            for _ in range(64):
                file.write(os.urandom(4 * MIB))
        templates = daemon.state / "templates"
        call = daemon.images.ImportTemplate(
            I.ImportTemplateRequest(template_id="large", path=str(image)), timeout=60)
        wait_until(lambda: list(templates.glob(".import-*")), "it is being made")
        daemon.restart()
        call.cancel()

        self.assertEqual([], [path for path in templates.iterdir() if path.name != ".hashes"])
        list(daemon.images.ImportTemplate(
            I.ImportTemplateRequest(template_id="large", path=str(image)), timeout=60))

    def test_a_full_disk_refuses_and_keeps_nothing(self):
        mounted = MountedState(self, "ext4", mib=64)
        daemon = mounted.daemon
        daemon.flags += ["--capacity-reserved-disk-mib", "8"]
        daemon.start()
        image = daemon.folder / "large.img"
        image.write_bytes(os.urandom(60 * MIB))
        with self.assertRaises(grpc.RpcError) as caught:
            list(daemon.images.ImportTemplate(
                I.ImportTemplateRequest(template_id="large", path=str(image)), timeout=60))
        failure = Failure(caught.exception)
        self.assertEqual((Code.RESOURCE_EXHAUSTED, "ROOTFS"), (failure.code, failure.reason))
        self.assertIn("are not to be used", failure.message)
        free = shutil.disk_usage("/proc/%d/root%s" % (daemon.pid, daemon.state)).free
        self.assertGreater(free, 30 * MIB)


if __name__ == "__main__":
    unittest.main()
