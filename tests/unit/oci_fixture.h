/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * OCI images made by tests/support/oci_image.py, and what becomes of them, as debugfs and e2fsck
 * see it. Nothing here is looked at by mounting it: that is the same for all kernels.
 */

#include "tests/support/small_disk.h"
#include "tests/unit/templates_fixture.h"

enum {
	SAID_MAX = 1 << 20,
	TIMEOUT_SEC = 120,
};

/* Has the image of that kind made, as an archive or as a directory, at c->source. */
static inline void make_oci(Catalog *c, const char *kind, const char *file)
{
	cleanup_free char *path = fs_path(c->disk, file), *what = text_dup(kind);
	char script[] = HEARTH_SOURCE_DIR "/tests/support/oci_image.py";
	char *const argv[] = { (char[]){ "python3" }, (char[]){ "-B" }, script, what, path, NULL };

	cr_assert(fs_run(argv), "%s", kind);
	text_copy(c->source, sizeof c->source, path);
}

static inline void use_unpacker(Catalog *c)
{
	static char program[4096];
	const char *bin = getenv("HEARTH_BIN");

	cr_assert_not_null(bin, "HEARTH_BIN must name the directory of hearth-unpack");
	(void)snprintf(program, sizeof program, "%s/hearth-unpack", bin);
	c->config.unpacker = program;
	catalog_restart(c);
}

/* A test with a catalog in which such an image is imported: body(c). */
#define OCI_TEST(suite, name)              \
	static void name##_of(Catalog *c); \
	CATALOG_TEST_ONCE(suite, name)     \
	{                                  \
		use_unpacker(c);           \
		name##_of(c);              \
	}                                  \
	static void name##_of(Catalog *c)

/* What a program says; to free. */
static inline char *say(char *const argv[])
{
	ProcessResult result = { 0 };

	cr_assert_eq(
		process_run_with(&result, argv, "", SAID_MAX, TIMEOUT_SEC * (int64_t)USEC_PER_SEC),
		0);
	return result.output;
}

/* What debugfs says of the template's image, without its own name; to free. */
static inline char *look(const Catalog *c, const char *name, const char *command)
{
	cleanup_free char *file = text_printf("%s/rootfs.ext4", name);
	cleanup_free char *image = catalog_path(c, file);
	cleanup_free char *request = text_dup(command);
	cleanup_free char *said =
		say((char *[]){ (char[]){ "debugfs" }, (char[]){ "-R" }, request, image, NULL });
	const char *line = strchr(said, '\n');

	return text_dup(line ? line + 1 : said);
}

static inline void expect_says(const Catalog *c, const char *command, const char *const *words)
{
	cleanup_free char *said = look(c, "oci", command);

	for (size_t i = 0; words[i]; i++)
		cr_expect_not_null(strstr(said, words[i]), "%s: %s: %s", command, words[i], said);
}

#define expect_look(c, command, ...) \
	expect_says((c), (command), (const char *const[]){ __VA_ARGS__, NULL })

static inline void expect_text(const Catalog *c, const char *path, const char *text)
{
	cleanup_free char *command = text_printf("cat %s", path);
	cleanup_free char *said = look(c, "oci", command);

	cr_expect_str_eq(said, text, "%s", path);
}

static inline void expect_absent(const Catalog *c, const char *path)
{
	cleanup_free char *command = text_printf("stat %s", path);
	cleanup_free char *said = look(c, "oci", command);

	cr_expect_not_null(strstr(said, "File not found"), "%s: %s", path, said);
}

static inline void expect_clean(const Catalog *c, const char *name)
{
	cleanup_free char *file = text_printf("%s/rootfs.ext4", name);
	cleanup_free char *image = catalog_path(c, file);

	cr_expect(fs_run((char *[]){ (char[]){ "e2fsck" }, (char[]){ "-fn" }, image, NULL }));
}

static inline int import_oci(const Catalog *c, TemplateImport import, Error *err)
{
	TemplateInfo info;

	import.path = c->source;
	if (!import.name)
		import.name = "oci";
	return templates_import(c->templates, &import, &info, err);
}

static inline void must_import(const Catalog *c, TemplateImport import)
{
	Error err = { 0 };

	cr_assert_eq(import_oci(c, import, &err), 0, "%s", err.what);
	expect_clean(c, import.name ? import.name : "oci");
}

/* Neither a template nor room that is taken is left, nor a process. */
static inline void expect_nothing(const Catalog *c)
{
	cleanup_free TemplateInfo *infos = NULL;
	cleanup_free char *hashes = catalog_path(c, ".hashes");
	size_t count;
	Error err = { 0 };

	cr_assert_eq(templates_list(c->templates, &infos, &count, &err), 0);
	cr_expect_eq(count, 0);
	cr_expect_eq(fs_count(c->dir), access(hashes, F_OK) == 0 ? 1 : 0);
}

static inline void expect_refused_as(const Catalog *c, TemplateImport import, ErrorCause cause,
				     const char *words)
{
	Error err = { 0 };

	cr_expect_eq(import_oci(c, import, &err), -1, "%s", words);
	cr_expect_eq(err.kind, ERROR_ROOTFS);
	cr_expect_eq(err.cause, cause, "%s", err.what);
	cr_expect_not_null(strstr(err.what, words), "%s: %s", words, err.what);
	expect_nothing(c);
}

static inline void expect_refused(const Catalog *c, ErrorCause cause, const char *words)
{
	expect_refused_as(c, (TemplateImport){ 0 }, cause, words);
}
