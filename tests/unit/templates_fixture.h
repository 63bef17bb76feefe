/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A catalog on a file system of the test's own. */

#include "runtime/images/disk_layout.h"
#include "runtime/images/templates.h"
#include "tests/support/fs_disk.h"

#define IMAGE_SIZE (12 * MIB)

enum {
	CATALOG_TOOL_UID = 61234, /* nobody's */
};

typedef struct Catalog {
	const FsDisk *disk;
	TemplatesConfig config;
	char dir[80], source[80];
	Templates *templates;
} Catalog;

static inline void catalog_start(Catalog *c)
{
	Error err = { 0 };

	cr_assert_eq(templates_open(&c->templates, &c->config, &err), 0, "%s", err.what);
}

/* An image to import lies at c->source: 3 MiB of data. */
static inline void catalog_open(Catalog *c, const FsDisk *disk)
{
	*c = (Catalog){ .disk = disk };
	(void)snprintf(c->dir, sizeof c->dir, "%s/state/templates", disk->dir);
	(void)snprintf(c->source, sizeof c->source, "%s/source.img", disk->dir);
	c->config.dir = c->dir;
	c->config.tool_uid = geteuid() == 0 ? CATALOG_TOOL_UID : 0;
	fs_write(c->source, 0, 2 * MIB, 1);
	fs_write(c->source, 8 * (uint64_t)MIB, MIB, 2);
	cr_assert_eq(truncate(c->source, IMAGE_SIZE), 0);
	catalog_start(c);
}

static inline void catalog_close(Catalog *c)
{
	templates_close(c->templates);
}

/* As when an agent dies and the next one comes. */
static inline void catalog_restart(Catalog *c)
{
	templates_close(take_ptr(c->templates));
	catalog_start(c);
}

static inline char *catalog_path(const Catalog *c, const char *name)
{
	return text_printf("%s/%s", c->dir, name);
}

static inline int catalog_import(const Catalog *c, const char *name, const char *digest, Error *err)
{
	const TemplateImport import = { .name = name, .path = c->source, .digest = digest };
	TemplateInfo info;

	return templates_import(c->templates, &import, &info, err);
}

static inline void catalog_must_import(const Catalog *c, const char *name)
{
	Error err = { 0 };

	cr_assert_eq(catalog_import(c, name, NULL, &err), 0, "%s", err.what);
}

/* @file is a name beside the source. */
static inline int catalog_clone(const Catalog *c, const char *name, const char *file, uint64_t size,
				Error *err)
{
	cleanup_free char *to = fs_path(c->disk, file);
	const TemplateClone clone = { .name = name, .to = to, .size = size };
	DiskCloneWay way;

	return templates_clone(c->templates, &clone, &way, err);
}

static inline TemplateInfo catalog_get(const Catalog *c, const char *name)
{
	TemplateInfo info;
	Error err = { 0 };

	cr_assert_eq(templates_get(c->templates, name, &info, &err), 0, "%s", err.what);
	return info;
}

/* A test with a catalog on each of the file systems: body(c). */
#define CATALOG_TEST(suite, name)                  \
	static void name##_in(Catalog *c);         \
	FS_TEST(suite, name)                       \
	{                                          \
		cleanup_(catalog_close) Catalog c; \
                                                   \
		catalog_open(&c, disk);            \
		name##_in(&c);                     \
	}                                          \
	static void name##_in(Catalog *c)

/* The same on XFS alone, where it makes no difference. */
#define CATALOG_TEST_ONCE(suite, name)                     \
	static void name##_in(Catalog *c);                 \
	Test(suite, name)                                  \
	{                                                  \
		cleanup_(fs_remove) FsDisk disk;           \
		cleanup_(catalog_close) Catalog c = { 0 }; \
                                                           \
		fs_open(&disk, "xfs");                     \
		catalog_open(&c, &disk);                   \
		name##_in(&c);                             \
	}                                                  \
	static void name##_in(Catalog *c)
