/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/templates_fixture.h"

/* The catalog: what is found in it, what is kept of it, what goes from it. */

CATALOG_TEST(templates, a_template_is_what_was_imported)
{
	cleanup_free char *image = catalog_path(c, "debian/rootfs.ext4");
	char digest[DISK_DIGEST_SIZE];
	cleanup_close int fd = open(c->source, O_RDONLY | O_CLOEXEC);
	TemplateInfo info;
	struct stat st;
	Error err = { 0 };

	cr_assert_eq(disk_hash(digest, fd, c->source, NULL, &err), 0);
	catalog_must_import(c, "debian");
	info = catalog_get(c, "debian");

	cr_expect_str_eq(info.name, "debian");
	cr_expect(info.stamped);
	cr_expect_eq(info.size, IMAGE_SIZE);
	cr_expect_eq(info.stamp.size, IMAGE_SIZE);
	cr_expect_str_eq(info.stamp.digest, digest);
	cr_expect_str_eq(info.stamp.source, c->source);
	cr_expect(!clock_is_past(info.stamp.stamped, 60 * (int64_t)USEC_PER_SEC));
	cr_expect_leq(info.allocated, 4 * (uint64_t)MIB);
	cr_expect_leq(info.extents, DISK_RUNS_MAX);
	cr_expect_not(error_is_set(&info.problem), "%s", info.problem.what);
	cr_expect(fs_equal(image, c->source));
	cr_assert_eq(stat(image, &st), 0);
	cr_expect_eq(st.st_mode & 07777, 0444);
}

CATALOG_TEST_ONCE(templates, all_are_listed_by_name)
{
	cleanup_free TemplateInfo *infos = NULL;
	cleanup_free char *other = catalog_path(c, "No-Template");
	cleanup_free char *file = catalog_path(c, "file");
	size_t count;
	Error err = { 0 };

	catalog_must_import(c, "b");
	catalog_must_import(c, "a");
	catalog_must_import(c, "c");
	cr_assert_eq(mkdir(other, 0700), 0);
	cr_assert_eq(file_write_atomic(file, "x", 1), 0);
	catalog_restart(c);
	cr_assert_eq(templates_list(c->templates, &infos, &count, &err), 0);

	cr_assert_not_null(infos);
	cr_assert_eq(count, 3);
	cr_expect_str_eq(infos[0].name, "a");
	cr_expect_str_eq(infos[1].name, "b");
	cr_expect_str_eq(infos[2].name, "c");
	cr_expect(infos[2].stamped);
}

CATALOG_TEST_ONCE(templates, a_name_is_an_id)
{
	static const char *const names[] = { "", ".", "..", "a/b", "../x", "A", "-a", ".hashes" };

	for (size_t i = 0; i < array_size(names); i++) {
		TemplateInfo info;
		Error err = { 0 };

		cr_expect_eq(catalog_import(c, names[i], NULL, &err), -1);
		cr_expect_eq(err.cause, CAUSE_INPUT, "%s", names[i]);
		error_clear(&err);
		cr_expect_eq(templates_get(c->templates, names[i], &info, &err), -1);
		cr_expect_eq(err.cause, CAUSE_INPUT, "%s", names[i]);
	}
}

static void place(const Catalog *c, const char *name)
{
	cleanup_free char *dir = catalog_path(c, name);
	cleanup_free char *image = text_printf("%s/rootfs.ext4", dir);

	cr_assert_eq(mkdir(dir, 0700), 0);
	fs_write(image, 0, MIB, 9);
}

CATALOG_TEST_ONCE(templates, one_that_was_placed_is_found_and_stamped_when_used)
{
	cleanup_free char *image = catalog_path(c, "placed/rootfs.ext4");
	cleanup_free char *clone = fs_path(c->disk, "clone");
	Error err = { 0 };

	place(c, "placed");
	cr_expect_not(catalog_get(c, "placed").stamped);
	cr_expect_eq(catalog_get(c, "placed").size, MIB);
	cr_assert_eq(catalog_clone(c, "placed", "clone", 0, &err), 0, "%s", err.what);

	cr_expect(fs_equal(image, clone));
	cr_expect(catalog_get(c, "placed").stamped);
	catalog_restart(c);
	cr_expect(catalog_get(c, "placed").stamped);
	fs_write(image, 1000, 1, 77);
	cr_expect_eq(catalog_clone(c, "placed", "another", 0, &err), -1);
	cr_expect_eq(err.cause, CAUSE_CORRUPT, "%s", err.what);
}

CATALOG_TEST_ONCE(templates, one_that_is_not_there_is_missing)
{
	TemplateInfo info;
	Error err = { 0 };

	cr_assert_eq(templates_get(c->templates, "none", &info, &err), -1);
	cr_expect_eq(err.kind, ERROR_ROOTFS);
	cr_expect_eq(err.cause, CAUSE_MISSING);
	cr_expect_str_eq(err.what, "template 'none' not found");
	error_clear(&err);
	cr_expect_eq(templates_delete(c->templates, "none", &err), -1);
	cr_expect_eq(err.cause, CAUSE_MISSING);
}

CATALOG_TEST_ONCE(templates, one_without_an_image_is_listed_with_its_problem)
{
	cleanup_free char *dir = catalog_path(c, "empty");
	Error err = { 0 };

	cr_assert_eq(mkdir(dir, 0700), 0);

	cr_expect_eq(catalog_get(c, "empty").problem.cause, CAUSE_MISSING);
	cr_expect_eq(catalog_clone(c, "empty", "clone", 0, &err), -1);
	cr_expect_eq(err.cause, CAUSE_MISSING, "%s", err.what);
	error_clear(&err);
	cr_expect_eq(templates_delete(c->templates, "empty", &err), 0, "%s", err.what);
	cr_expect_eq(access(dir, F_OK), -1);
}

CATALOG_TEST_ONCE(templates, an_image_behind_a_link_is_refused)
{
	cleanup_free char *dir = catalog_path(c, "linked");
	cleanup_free char *image = text_printf("%s/rootfs.ext4", dir);
	cleanup_free char *link = catalog_path(c, "alias");
	TemplateInfo info;
	Error err = { 0 };

	cr_assert_eq(mkdir(dir, 0700), 0);
	cr_assert_eq(symlink(c->source, image), 0);
	cr_assert_eq(symlink("linked", link), 0);

	cr_expect_eq(catalog_clone(c, "linked", "clone", 0, &err), -1);
	cr_expect_eq(err.cause, CAUSE_INPUT, "%s", err.what);
	error_clear(&err);
	cr_expect_eq(templates_get(c->templates, "alias", &info, &err), -1);
	cr_expect_eq(err.cause, CAUSE_MISSING, "%s", err.what);
}

CATALOG_TEST_ONCE(templates, one_that_is_pinned_is_not_deleted)
{
	cleanup_free char *dir = catalog_path(c, "debian");
	Error err = { 0 };

	catalog_must_import(c, "debian");
	cr_assert_eq(templates_pin(c->templates, "debian", &err), 0);
	cr_assert_eq(templates_pin(c->templates, "debian", &err), 0);

	cr_expect_eq(catalog_get(c, "debian").users, 2);
	cr_expect_eq(templates_delete(c->templates, "debian", &err), -1);
	cr_expect_eq(err.kind, ERROR_IN_USE);
	cr_expect_str_eq(err.what, "template 'debian' is used by 2 VMs");
	templates_unpin(c->templates, "debian");
	error_clear(&err);
	cr_expect_eq(templates_delete(c->templates, "debian", &err), -1);
	templates_unpin(c->templates, "debian");
	error_clear(&err);
	cr_expect_eq(templates_delete(c->templates, "debian", &err), 0, "%s", err.what);
	cr_expect_eq(access(dir, F_OK), -1);
	cr_expect_eq(templates_pin(c->templates, "debian", &err), -1);
	cr_expect_eq(err.cause, CAUSE_MISSING);
}

CATALOG_TEST_ONCE(templates, one_that_was_removed_by_hand_can_be_imported_again)
{
	cleanup_free char *dir = catalog_path(c, "debian");
	Error err = { 0 };

	catalog_must_import(c, "debian");
	cr_assert_eq(templates_pin(c->templates, "debian", &err), 0);
	cr_assert_eq(file_remove_tree(dir), 0);
	cr_expect_eq(catalog_clone(c, "debian", "clone", 0, &err), -1);
	cr_expect_eq(err.cause, CAUSE_MISSING, "%s", err.what);
	catalog_must_import(c, "debian");

	error_clear(&err);
	cr_expect_eq(catalog_clone(c, "debian", "clone", 0, &err), 0, "%s", err.what);
	cr_expect_eq(catalog_get(c, "debian").users, 1);
	cr_expect_eq(templates_delete(c->templates, "debian", &err), -1);
	cr_expect_eq(err.kind, ERROR_IN_USE);
}

CATALOG_TEST(templates, clones_outlive_their_template)
{
	cleanup_free char *clone = fs_path(c->disk, "clone");
	Error err = { 0 };

	catalog_must_import(c, "debian");
	cr_assert_eq(catalog_clone(c, "debian", "clone", 0, &err), 0, "%s", err.what);
	cr_assert_eq(templates_delete(c->templates, "debian", &err), 0, "%s", err.what);

	cr_expect(fs_equal(clone, c->source));
	catalog_must_import(c, "debian");
}

CATALOG_TEST_ONCE(templates, what_was_never_finished_goes_at_the_start)
{
	static const char *const ours[] = { ".import-0123456789abcdef", ".deleted-0123456789abcdef",
					    ".grow-0123456789abcdef" };
	static const char *const others[] = { ".import-0123456789abcdeg", ".import-", ".mine",
					      ".grow-0123456789abcdef0" };

	for (size_t i = 0; i < array_size(ours); i++)
		place(c, ours[i]);
	for (size_t i = 0; i < array_size(others); i++)
		place(c, others[i]);
	catalog_restart(c);

	for (size_t i = 0; i < array_size(ours); i++) {
		cleanup_free char *path = catalog_path(c, ours[i]);

		cr_expect_eq(access(path, F_OK), -1, "%s", ours[i]);
	}
	for (size_t i = 0; i < array_size(others); i++) {
		cleanup_free char *path = catalog_path(c, others[i]);

		cr_expect_eq(access(path, F_OK), 0, "%s", others[i]);
	}
}

CATALOG_TEST_ONCE(templates, a_damaged_stamp_is_said_and_does_not_hinder_a_deletion)
{
	cleanup_free char *stamp = catalog_path(c, "debian/stamp.json");
	static const char *const texts[] = {
		"",
		"{",
		"[]",
		"{\"version\":2}",
		"{\"version\":1,\"size\":512,\"sha256\":\"no\",\"stamped_us\":1}",
	};
	Error err = { 0 };

	catalog_must_import(c, "debian");
	for (size_t i = 0; i < array_size(texts); i++) {
		cr_assert_eq(file_write_atomic(stamp, texts[i], strlen(texts[i])), 0);
		catalog_restart(c);
		error_clear(&err);

		cr_expect_eq(catalog_get(c, "debian").problem.cause, CAUSE_CORRUPT, "%zu", i);
		cr_expect_eq(catalog_clone(c, "debian", "clone", 0, &err), -1);
		cr_expect_eq(err.cause, CAUSE_CORRUPT, "%s", err.what);
	}
	error_clear(&err);
	cr_expect_eq(templates_delete(c->templates, "debian", &err), 0, "%s", err.what);
}
