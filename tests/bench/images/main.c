/* SPDX-License-Identifier: Apache-2.0 */

/*
 * bench_images DIRECTORY MEASURE COUNT, MEASURE one of:
 *   clone   microseconds of a clone of a template, unsynced, in a catalog below DIRECTORY
 *   durable the same, synced
 *   check   microseconds to find that a template is unchanged
 *   hash    bytes a second of the SHA-256 of DIRECTORY/image
 * One figure a line. The template is DIRECTORY/image.
 */

#include "base/file.h"
#include "base/text.h"
#include "runtime/images/templates.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

typedef struct Bench {
	const char *dir;
	char *image;
	Templates *templates;
	Error err;
} Bench;

static double now(void)
{
	struct timespec time;

	(void)clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int clone_once(Bench *bench, uint64_t i, bool durable)
{
	cleanup_free char *to = text_printf("%s/clone-%" PRIu64, bench->dir, i);
	const TemplateClone clone = { .name = "image", .to = to, .durable = durable };
	double before = now();
	DiskCloneWay way;

	if (templates_clone(bench->templates, &clone, &way, &bench->err) < 0)
		return -1;
	printf("%.3f\n", (now() - before) * 1e6);
	return 0;
}

static int clone_unsynced(Bench *bench, uint64_t i)
{
	return clone_once(bench, i, false);
}

static int clone_durably(Bench *bench, uint64_t i)
{
	return clone_once(bench, i, true);
}

static int check(Bench *bench, uint64_t i)
{
	double before = now();

	(void)i;
	if (templates_verify(bench->templates, "image", false, NULL, &bench->err) < 0)
		return -1;
	printf("%.3f\n", (now() - before) * 1e6);
	return 0;
}

static int hash(Bench *bench, uint64_t i)
{
	cleanup_close int fd = -1;
	char digest[DISK_DIGEST_SIZE];
	double before = now();
	struct stat st;

	(void)i;
	if (disk_open(&fd, AT_FDCWD, bench->image, &bench->err) < 0 ||
	    disk_hash(digest, fd, bench->image, NULL, &bench->err) < 0 || fstat(fd, &st) < 0)
		return -1;
	printf("%.0f\n", (double)st.st_size / (now() - before));
	return 0;
}

static const struct {
	const char *name;
	int (*run)(Bench *bench, uint64_t i);
	bool needs_template;
} measures[] = {
	{ "clone", clone_unsynced, true },
	{ "durable", clone_durably, true },
	{ "check", check, true },
	{ "hash", hash, false },
};

static int import(Bench *bench)
{
	cleanup_free char *catalog = text_printf("%s/templates", bench->dir);
	const TemplatesConfig config = { .dir = catalog };
	const TemplateImport asked = { .name = "image", .path = bench->image };
	double before = now();
	TemplateInfo info;

	if (templates_open(&bench->templates, &config, &bench->err) < 0)
		return -1;
	if (templates_get(bench->templates, "image", &info, &bench->err) == 0)
		return 0;
	error_clear(&bench->err);
	if (templates_import(bench->templates, &asked, &info, &bench->err) < 0)
		return -1;
	(void)fprintf(stderr, "imported %" PRIu64 " bytes in %.2f s, %" PRIu32 " extents\n",
		      info.size, now() - before, info.extents);
	return 0;
}

static int run(Bench *bench, const char *measure, uint64_t count)
{
	for (size_t i = 0; i < array_size(measures); i++) {
		if (!text_equal(measures[i].name, measure))
			continue;
		if (measures[i].needs_template && import(bench) < 0)
			return -1;
		for (uint64_t k = 0; k < count; k++)
			if (measures[i].run(bench, k) < 0)
				return -1;
		return 0;
	}
	return error_set(&bench->err, ERROR_ROOTFS, "no measure '%s'", measure);
}

int main(int argc, char **argv)
{
	Bench bench = { 0 };
	uint64_t count;
	int r;

	if (argc != 4 || text_to_u64(&count, argv[3]) < 0) {
		(void)fprintf(stderr, "usage: bench_images DIRECTORY MEASURE COUNT\n");
		return 2;
	}
	bench.dir = argv[1];
	bench.image = text_printf("%s/image", bench.dir);
	r = run(&bench, argv[2], count);
	if (r < 0)
		(void)fprintf(stderr, "%s\n", bench.err.what);
	templates_close(bench.templates);
	free(bench.image);
	return r < 0;
}
