/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/processes.h"
#include "tests/unit/oci_fixture.h"

OCI_TEST(templates_oci, modes_owners_and_types_survive)
{
	cleanup_free char *ping = NULL;

	make_oci(c, "whole", "whole.tar");
	must_import(c, (TemplateImport){ 0 });
	ping = look(c, "oci", "stat /bin/ping");

	expect_look(c, "stat /", "Mode:  0711");
	expect_look(c, "stat /tmp", "Mode:  01777", "Type: directory");
	expect_look(c, "stat /bin", "User:     7");
	expect_look(c, "stat /bin/su", "Mode:  04755", "Links: 2", "mtime: 0x5f5e1000");
	expect_look(c, "stat /bin/wall", "Mode:  02755", "Group:     5");
	expect_look(c, "stat /home/user/file", "User:  1000", "Group: 100001", "Mode:  0600");
	expect_look(c, "stat /home", "User:     0", "Mode:  0755");
	expect_look(c, "stat /dev/null", "Type: character special", "01:03");
	expect_look(c, "stat /dev/sda1", "Type: block special", "08:01");
	expect_look(c, "stat /dev/far", "Type: block special", "259:70000");
	expect_look(c, "stat /dev/fifo", "Type: FIFO");
	expect_look(c, "stat /lib", "Type: symlink", "Mode:  0777", "usr/lib");
	expect_look(c, "stat /long", "Type: symlink", "Size: 100");
	expect_look(c, "stat /bin/ping", "security.capability (20) = 01 00 00 02 00 20",
		    "user.note (4) = \"kept\"");
	cr_expect_null(strstr(ping, "trusted"), "%s", ping);
	expect_text(c, "/linked", "after");
	expect_text(c, "/absolute", "absolute");
}

OCI_TEST(templates_oci, bytes_survive)
{
	cleanup_free char *big = NULL;
	cleanup_free char *names = NULL;

	make_oci(c, "whole", "whole.tar");
	must_import(c, (TemplateImport){ 0 });
	names = look(c, "oci", "ls -p /");

	expect_look(c, "stat /big", "Size: 300000");
	cr_expect_not_null(strstr(names, "/u\xcc\x88"
					 "ber/"),
			   "%s", names);
	cr_expect_not_null(strstr(names, "/\xff\xfe/"), "%s", names);
	expect_text(c, "/hard", "decomposed");
	expect_look(c, "stat /decomposed",
		    "dest: \"u\xcc\x88"
		    "ber\"");
	big = look(c, "oci", "blocks /big");
	cr_expect_not_null(strchr(big, ' '), "it has blocks");
}

OCI_TEST(templates_oci, what_lies_above_hides_what_lies_below)
{
	make_oci(c, "whole", "whole.tar");
	must_import(c, (TemplateImport){ 0 });

	expect_absent(c, "/gone");
	expect_absent(c, "/dir/gone");
	expect_text(c, "/dir/kept", "kept");
	expect_absent(c, "/opaque/below");
	expect_absent(c, "/opaque/sub/below");
	expect_text(c, "/opaque/above", "above");
	expect_text(c, "/opaque/sub/above", "above");
	expect_text(c, "/opaque/late", "late");
	expect_text(c, "/replaced", "file");
	expect_text(c, "/changed", "after");
	expect_text(c, "/usr/lib/library", "library");
	expect_text(c, "/usr/lib/other", "other");
	expect_text(c, "/again", "again");
	expect_absent(c, "/no");
	expect_absent(c, "/.wh.not-there");
}

OCI_TEST(templates_oci, the_same_image_becomes_the_same_bytes)
{
	TemplateInfo first, second;

	make_oci(c, "whole", "whole.tar");
	must_import(c, (TemplateImport){ .name = "one" });
	(void)sleep(1);
	make_oci(c, "whole", "layout");
	must_import(c, (TemplateImport){ .name = "two" });
	first = catalog_get(c, "one");
	second = catalog_get(c, "two");

	cr_expect_str_eq(first.stamp.digest, second.stamp.digest);
	cr_expect_eq(strncmp(first.stamp.source, "sha256:", 7), 0, "%s", first.stamp.source);
	cr_expect_not_null(strstr(first.stamp.source, " of "), "%s", first.stamp.source);
	cr_expect_not_null(strstr(first.stamp.source, "whole.tar"), "%s", first.stamp.source);
	cr_expect_eq(first.size % MIB, 0);
	cr_expect_leq(first.extents, 40);
}

OCI_TEST(templates_oci, it_has_the_size_that_was_asked_for)
{
	make_oci(c, "whole", "whole.tar");
	must_import(c, (TemplateImport){ .name = "one", .size = 200 * MIB });
	cr_expect_eq(catalog_get(c, "one").size, 200 * MIB);
	must_import(c, (TemplateImport){ .name = "two" });
	cr_expect_leq(catalog_get(c, "two").size, 70 * MIB);
}

OCI_TEST(templates_oci, many_files_fit)
{
	cleanup_free char *dirs = NULL;

	make_oci(c, "many_files", "many.tar");
	must_import(c, (TemplateImport){ 0 });
	dirs = look(c, "oci", "ls -p /dirs");

	expect_look(c, "stat /dirs", "Links: 3002");
	cr_expect_not_null(strstr(dirs, "/2999/"));
}

OCI_TEST(templates_oci, zeros_stay_holes)
{
	make_oci(c, "large", "large.tar");
	must_import(c, (TemplateImport){ 0 });

	cr_expect_leq(catalog_get(c, "oci").allocated, 30 * (uint64_t)MIB);
	expect_look(c, "stat /zeros", "Size: 41943040");
}

OCI_TEST(templates_oci, one_of_several_is_chosen_by_name)
{
	make_oci(c, "several", "several.tar");
	expect_refused(c, CAUSE_INPUT, "has several images: a, b");
	expect_refused_as(c, (TemplateImport){ .reference = "c" }, CAUSE_INPUT,
			  "has no image 'c': a, b");
	must_import(c, (TemplateImport){ .reference = "b" });
	expect_text(c, "/etc/motd", "b");

	make_oci(c, "same_twice", "same.tar");
	must_import(c, (TemplateImport){ .name = "same" });
}

OCI_TEST(templates_oci, the_hosts_architecture_is_chosen)
{
	make_oci(c, "other_platform", "other.tar");
	expect_refused(c, CAUSE_INPUT, "has an image for linux/s390x, and this host is linux/");
	make_oci(c, "other_platforms", "others.tar");
	expect_refused(c, CAUSE_INPUT, "has no image for linux/");
	make_oci(c, "platforms", "platforms.tar");
	must_import(c, (TemplateImport){ 0 });
	expect_text(c, "/etc/motd", "mine");
}

/* The room that was there when it was taken is gone when it is needed. */
static bool fill_it(void *user, uint64_t done, uint64_t total)
{
	const Catalog *c = user;
	cleanup_free char *hog = fs_path(c->disk, "hog");

	if (done > total / 5 && access(hog, F_OK) < 0)
		fill_small_disk(c->disk->dir);
	return true;
}

OCI_TEST(templates_oci, a_disk_that_fills_meanwhile_is_left_as_it_was)
{
	const DiskProgress progress = { .step = fill_it, .user = c };

	make_oci(c, "large", "large.tar");
	expect_refused_as(c, (TemplateImport){ .progress = &progress }, CAUSE_EXHAUSTED, "");
	free_small_disk(c->disk->dir);
	fs_sync(c->disk);
	must_import(c, (TemplateImport){ 0 });
}

typedef struct Watch {
	double last, until; /* parts of the whole */
	size_t steps;
} Watch;

static bool watch(void *user, uint64_t done, uint64_t total)
{
	Watch *w = user;
	double now = (double)done / (double)total;

	cr_expect_geq(now, w->last - 1e-6);
	cr_expect_leq(now, 1);
	w->last = now;
	w->steps++;
	return now <= w->until;
}

OCI_TEST(templates_oci, progress_goes_one_way)
{
	Watch w = { .until = 1 };
	const DiskProgress progress = { .step = watch, .user = &w };

	make_oci(c, "large", "large.tar");
	must_import(c, (TemplateImport){ .progress = &progress });

	cr_expect_gt(w.steps, 10);
	cr_expect_gt(w.last, 0.99);
}

OCI_TEST(templates_oci, one_that_is_given_up_leaves_nothing)
{
	static const double parts[] = { -1, 0, 0.3, 0.6, 0.8 };

	c->config.tool_uid = c->config.tool_uid ? lone_uid() : 0;
	catalog_restart(c);
	make_oci(c, "large", "large.tar");
	for (size_t i = 0; i < array_size(parts); i++) {
		Watch w = { .until = parts[i] };
		const DiskProgress progress = { .step = watch, .user = &w };

		expect_refused_as(c, (TemplateImport){ .progress = &progress }, CAUSE_TIMEOUT, "");
		cr_expect(!c->config.tool_uid || processes_end(c->config.tool_uid));
	}
	must_import(c, (TemplateImport){ 0 });
}
