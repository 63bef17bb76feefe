/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/oci_fixture.h"

OCI_TEST(templates_oci_refused, too_small_a_size_is_refused)
{
	make_oci(c, "large", "large.tar");
	expect_refused_as(c, (TemplateImport){ .size = 20 * MIB }, CAUSE_INPUT,
			  "and the image may have");
	/* The file system itself needs room as well. */
	expect_refused_as(c, (TemplateImport){ .size = 51 * MIB }, CAUSE_INPUT, "it does not fit");
}

OCI_TEST(templates_oci_refused, a_raw_image_has_no_size_to_choose)
{
	expect_refused_as(c, (TemplateImport){ .size = 20 * MIB }, CAUSE_INPUT, "is a raw image");
	expect_refused_as(c, (TemplateImport){ .reference = "a" }, CAUSE_INPUT, "is a raw image");
}

OCI_TEST(templates_oci_refused, what_is_damaged_is_corrupt)
{
	static const struct {
		const char *kind, *words;
	} rows[] = {
		{ "flipped_layer", "its SHA-256 is" },
		{ "flipped_gzip", "layer " },
		{ "flipped_manifest", "has SHA-256" },
		{ "short_layer", "is to have" },
		{ "missing_layer", "blobs/sha256/" },
		{ "no_tar", "layer " },
		{ "half_tar", "layer " },
	};

	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup_free char *archive = text_printf("%s.tar", rows[i].kind);

		make_oci(c, rows[i].kind, archive);
		expect_refused(c, CAUSE_CORRUPT, rows[i].words);
		make_oci(c, rows[i].kind, rows[i].kind);
		expect_refused(c, CAUSE_CORRUPT, rows[i].words);
	}
}

OCI_TEST(templates_oci_refused, an_archive_that_ends_early_is_corrupt)
{
	struct stat st;

	make_oci(c, "whole", "whole.tar");
	cr_assert_eq(stat(c->source, &st), 0);
	for (off_t size = st.st_size / 2; size > 512; size -= 7001) {
		cr_assert_eq(truncate(c->source, size), 0);
		expect_refused(c, CAUSE_CORRUPT, "is no whole tar archive");
	}
}

OCI_TEST(templates_oci_refused, what_is_not_taken_is_said)
{
	static const struct {
		const char *kind, *words;
		ErrorCause cause;
	} rows[] = {
		{ "encrypted", "+encrypted', which is not taken", CAUSE_INPUT },
		{ "sha512", "and sha256 is what is taken", CAUSE_INPUT },
		{ "digest_leads_out", "and sha256 is what is taken", CAUSE_INPUT },
		{ "docker_save", "`docker save`", CAUSE_INPUT },
		{ "nothing", "neither a raw image nor an OCI image", CAUSE_INPUT },
		{ "no_json", "is no JSON", CAUSE_CORRUPT },
	};

	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup_free char *archive = text_printf("%s.tar", rows[i].kind);

		make_oci(c, rows[i].kind, archive);
		expect_refused(c, rows[i].cause, rows[i].words);
		make_oci(c, rows[i].kind, rows[i].kind);
		expect_refused(c, rows[i].cause, rows[i].words);
	}
}

OCI_TEST(templates_oci_refused, what_is_hostile_is_refused)
{
	static const struct {
		const char *kind, *words;
	} rows[] = {
		{ "parent_path", "a path with '..'" },
		{ "parent_within", "a path with '..'" },
		{ "link_loop", "too many symbolic links" },
		{ "hard_link_out", "a hard link to what is not there" },
		{ "hard_link_up", "a path with '..'" },
		{ "hard_link_to_dir", "a hard link to a directory" },
		{ "below_file", "below what is no directory" },
		{ "long_name", "a name that is too long" },
		{ "long_attribute", "more attributes than ext4 takes" },
		{ "root_is_file", "a root that is no directory" },
		{ "deep", "that lies too deep" },
		{ "huge_file", "more than the" },
		{ "bomb", "more than the 33554432 bytes that an image may have" },
		{ "evil_names", "has several images: sha256:" },
		{ "many_entries", "more than 1048576 entries" },
	};

	for (size_t i = 0; i < array_size(rows); i++) {
		bool small = strcmp(rows[i].kind, "bomb") == 0;

		c->config.max_image_bytes = (small ? 32 : 128) * (uint64_t)MIB;
		catalog_restart(c);
		make_oci(c, rows[i].kind, "hostile.tar");
		expect_refused(c, CAUSE_INPUT, rows[i].words);
		cr_expect_eq(access("/etc/evil", F_OK), -1);
	}
}

OCI_TEST(templates_oci_refused, links_stay_within_the_image)
{
	make_oci(c, "links_out", "links.tar");
	must_import(c, (TemplateImport){ 0 });

	expect_text(c, "/etc/a", "evil");
	expect_text(c, "/etc/b", "evil");
	expect_text(c, "/etc/c", "evil");
	cr_expect_eq(access("/etc/a", F_OK), -1);
	cr_expect_eq(access("/etc/b", F_OK), -1);
	cr_expect_eq(access("/etc/c", F_OK), -1);
}

OCI_TEST(templates_oci_refused, a_layout_whose_blobs_are_links_is_refused)
{
	cleanup_free char *blobs = NULL, *elsewhere = NULL;

	make_oci(c, "whole", "layout");
	blobs = text_printf("%s/blobs", c->source);
	elsewhere = text_printf("%s/elsewhere", c->source);
	cr_assert_eq(rename(blobs, elsewhere), 0);
	cr_assert_eq(symlink("elsewhere", blobs), 0);

	expect_refused(c, CAUSE_INPUT, "symbolic links");
}

OCI_TEST(templates_oci_refused, limits_hold)
{
	make_oci(c, "large", "large.tar");
	c->config.max_image_bytes = 100 * (uint64_t)MIB;
	catalog_restart(c);
	expect_refused(c, CAUSE_INPUT, "an image may have");
	c->config.max_image_bytes = 0;
	c->config.max_bytes = 20 * (uint64_t)MIB;
	catalog_restart(c);
	expect_refused(c, CAUSE_EXHAUSTED, "are left");
	c->config.max_bytes = 0;
	catalog_restart(c);
	fill_small_disk(c->disk->dir);
	expect_refused(c, CAUSE_EXHAUSTED, "");
	free_small_disk(c->disk->dir);
	fs_sync(c->disk);
	must_import(c, (TemplateImport){ 0 });
}

OCI_TEST(templates_oci_refused, without_its_programs_it_says_which)
{
	c->config.unpacker = "hearth-no-unpack";
	catalog_restart(c);
	make_oci(c, "whole", "whole.tar");

	expect_refused(c, CAUSE_HOST, "hearth-no-unpack is not installed");
}
