/* SPDX-License-Identifier: Apache-2.0 */

/* The pager's parts that need no userfaultfd: working sets, windows, holes, bitmaps, counters. */

#include "base/file.h"
#include "base/text.h"
/* NOLINTBEGIN(bugprone-suspicious-include): the pager is a program, not a library */
#include "runtime/pager/counters.c"
#include "runtime/pager/memory_file.c"
#include "runtime/pager/window.c"
#include "runtime/pager/working_set.c"
/* NOLINTEND(bugprone-suspicious-include) */

#include <criterion/criterion.h>

#define MEMORY UINT64_C(4194304)

enum {
	FILE_MAX = 1024
};

typedef struct Desk {
	char dir[64];
	char *path;
} Desk;

static Desk desk_new(void)
{
	Desk desk = { .dir = "/tmp/hearth-parts-XXXXXX" };

	cr_assert_not_null(mkdtemp(desk.dir));
	desk.path = text_printf("%s/file", desk.dir);
	return desk;
}

static void desk_free(Desk *desk)
{
	(void)!file_remove_tree(desk->dir);
	free(desk->path);
}

#define DESK(name) cleanup_(desk_free) Desk name = desk_new()

Test(pager_window, it_grows_along_a_stream_and_stays_small_elsewhere)
{
	Window window = { .max = 16 };
	uint64_t page = 100;

	for (uint64_t wanted = 1; wanted <= 32; wanted *= 2) {
		uint64_t count = window_open(&window, page);

		cr_assert_eq(count, wanted > 16 ? 16 : wanted);
		window_close(&window, page, count);
		page += count;
		cr_assert_eq(window_open(&window, page + 1000 * wanted), 1);
		window_close(&window, page + 1000 * wanted, 1);
	}
}

Test(pager_window, pages_downwards_are_no_stream)
{
	Window window = { .max = 16 };

	for (uint64_t page = 50; page-- > 0;) {
		cr_assert_eq(window_open(&window, page), 1);
		window_close(&window, page, 1);
	}
}

Test(pager_window, one_page_is_the_least_and_may_be_the_most)
{
	Window window = { .max = 1 };

	for (uint64_t page = 0; page < 50; page++) {
		cr_assert_eq(window_open(&window, page), 1);
		window_close(&window, page, 1);
	}
}

Test(pager_counters, a_latency_is_in_the_bucket_that_begins_below_it)
{
	for (uint64_t ns = 1; ns < UINT64_C(100000000000); ns += 1 + ns / 7) {
		size_t bucket = bucket_of(ns);

		cr_assert_leq(counters_bucket_ns(bucket), ns);
		if (bucket + 1 < HISTOGRAM_BUCKETS)
			cr_assert_gt(counters_bucket_ns(bucket + 1), ns);
	}
}

Test(pager_counters, quantiles_are_of_all_that_was_added)
{
	static Counters counters;

	cr_assert_eq(counters_quantile_ns(&counters, 500), 0);
	for (int i = 0; i < 990; i++)
		counters_add_latency(&counters, 8100);
	for (int i = 0; i < 10; i++)
		counters_add_latency(&counters, 1100000);

	cr_assert_eq(counters_quantile_ns(&counters, 500), 8000);
	cr_assert_eq(counters_quantile_ns(&counters, 990), 8000);
	cr_assert_eq(counters_quantile_ns(&counters, 991), 1024000);
	cr_assert_eq(counter_get(&counters.latency_max_ns), 1100000);
}

Test(pager_memory_file, holes_are_where_nothing_was_written)
{
	static const char block[4096] = "data";
	cleanup_(memory_file_freep) MemoryFile *file = NULL;
	Error err = { 0 };
	DESK(desk);
	int fd = open(desk.path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	bool hole;

	cr_assert_eq(ftruncate(fd, MEMORY), 0);
	cr_assert_eq(pwrite(fd, block, sizeof block, 65536), (ssize_t)sizeof block);
	cr_assert_eq(memory_file_open(&file, desk.path, &err), 0, "%s", err.what);
	(void)close(fd);

	cr_assert_eq(memory_file_size(file), MEMORY);
	cr_assert_eq(memory_file_run(file, 0, &hole), 65536);
	cr_assert(hole);
	cr_assert_eq(memory_file_run(file, 65536, &hole), sizeof block);
	cr_assert_not(hole);
	cr_assert_eq(memory_file_run(file, 65536 + sizeof block, &hole),
		     MEMORY - 65536 - sizeof block);
	cr_assert(hole);
	cr_assert_eq(memory_file_resident(file, 65536, sizeof block), sizeof block);
}

Test(pager_memory_file, what_is_no_memory_is_refused)
{
	static const char *const paths[] = { "/dev/null", "/tmp", "/nowhere", "/dev/zero" };
	MemoryFile *file = NULL;

	for (size_t i = 0; i < array_size(paths); i++) {
		Error err = { 0 };

		cr_assert_eq(memory_file_open(&file, paths[i], &err), -1, "%s", paths[i]);
		cr_assert_eq(err.kind, ERROR_UFFD);
	}
}

static void check_same(const WorkingSet *a, const WorkingSet *b)
{
	cr_assert_eq(a->count, b->count);
	cr_assert_eq(a->pages, b->pages);
	for (size_t i = 0; i < a->count; i++) {
		cr_assert_eq(a->extents[i].page, b->extents[i].page);
		cr_assert_eq(a->extents[i].count, b->extents[i].count);
	}
}

Test(pager_working_set, what_is_saved_is_loaded)
{
	WorkingSet set = { 0 }, loaded = { 0 };
	DESK(desk);

	working_set_add(&set, 0, 1);
	working_set_add(&set, 1, 2);
	working_set_add(&set, 7, 1);
	working_set_add(&set, 1000, 24);
	cr_assert_eq(set.count, 3);
	cr_assert_eq(working_set_save(&set, desk.path, 4096, MEMORY), 0);
	cr_assert_eq(working_set_load(&loaded, desk.path, 4096, MEMORY), 0);

	check_same(&set, &loaded);
	cr_assert_eq(working_set_run(&loaded, 1), 2);
	cr_assert_eq(working_set_run(&loaded, 3), 0);
	cr_assert_eq(working_set_run(&loaded, 7), 1);
	cr_assert_eq(working_set_run(&loaded, 1023), 1);
	cr_assert_eq(working_set_run(&loaded, 1024), 0);
	working_set_clear(&loaded);
	cr_assert_eq(working_set_load(&loaded, desk.path, 4096, MEMORY + 4096), -ESTALE);
	cr_assert_eq(working_set_load(&loaded, desk.path, 2097152, MEMORY), -ESTALE);
	working_set_clear(&set);
}

Test(pager_working_set, none_of_its_bits_may_flip)
{
	WorkingSet set = { 0 }, loaded = { 0 };
	cleanup_free char *bytes = NULL;
	size_t size;
	DESK(desk);

	working_set_add(&set, 3, 4);
	working_set_add(&set, 9, 1);
	cr_assert_eq(working_set_save(&set, desk.path, 4096, MEMORY), 0);
	working_set_clear(&set);
	cr_assert_eq(file_read(&bytes, &size, desk.path, FILE_MAX), 0);
	for (size_t bit = 0; bit < 8 * size; bit++) {
		bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
		cr_assert_lt(working_set_parse(&loaded, bytes, size, 4096, MEMORY), 0);
		bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
	}
	for (size_t cut = 0; cut < size; cut++)
		cr_assert_lt(working_set_parse(&loaded, bytes, cut, 4096, MEMORY), 0);

	cr_assert_eq(working_set_parse(&loaded, bytes, size, 4096, MEMORY), 0);
	working_set_clear(&loaded);
}

/* A file of these entries, its sum right. */
static int parse_entries(const uint32_t (*entries)[2], size_t count)
{
	char bytes[sizeof(WorkingSetHeader) + 64];
	size_t size = count * sizeof *entries;
	WorkingSet set = { 0 };
	WorkingSetHeader header = {
		.magic = { 'h', 'e', 'a', 'r', 't', 'h', 'w', 's' },
		.version = WORKING_SET_VERSION,
		.extents = (uint32_t)count,
		.page_size = 4096,
		.memory_size = MEMORY,
		.checksum = text_hash(entries, size),
	};
	int r;

	memcpy(bytes, &header, sizeof header);
	memcpy(bytes + sizeof header, entries, size);
	r = working_set_parse(&set, bytes, sizeof header + size, 4096, MEMORY);
	working_set_clear(&set);
	return r;
}

Test(pager_working_set, extents_are_apart_not_empty_and_within_the_memory)
{
	cr_assert_eq(parse_entries((const uint32_t[][2]){ { 0, 1024 } }, 1), 0);
	cr_assert_eq(parse_entries((const uint32_t[][2]){ { 5, 1 }, { 1, 1017 } }, 2), 0);
	cr_assert_eq(parse_entries((const uint32_t[][2]){ { 0, 0 } }, 1), -EINVAL);
	cr_assert_eq(parse_entries((const uint32_t[][2]){ { 0, 1025 } }, 1), -EINVAL);
	cr_assert_eq(parse_entries((const uint32_t[][2]){ { 1024, 1 } }, 1), -EINVAL);
	cr_assert_eq(parse_entries((const uint32_t[][2]){ { 0, 1 }, { 0, 1 } }, 2), -EINVAL);
	cr_assert_eq(parse_entries((const uint32_t[][2]){ { 0, 1 }, { UINT32_MAX, 1 } }, 2),
		     -EINVAL);
	cr_assert_eq(parse_entries((const uint32_t[][2]){ { 1, UINT32_MAX } }, 1), -EINVAL);
}
