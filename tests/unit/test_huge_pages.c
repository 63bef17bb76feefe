/* SPDX-License-Identifier: Apache-2.0 */

/* The host's pool of large pages, played by a directory. */

#include "base/file.h"
#include "base/text.h"
#include "runtime/huge_pages.h"

#include <criterion/criterion.h>
#include <string.h>

static void write_number(const char *dir, const char *name, const char *number)
{
	cleanup_free char *path = text_printf("%s/%s", dir, name);

	if (number)
		cr_assert_eq(file_write_atomic(path, number, strlen(number)), 0);
}

/* Some of the free pages may be @reserved; a file for NULL is not there. */
static int check_reserved(VmHugePages kind, uint64_t memory_mib, const char *pool,
			  const char *reserved, Error *err)
{
	char dir[] = "/tmp/hearth-pages-XXXXXX";
	cleanup_(spec_unrefp) VmSpec *spec = spec_new();
	int r;

	cr_assert_not_null(mkdtemp(dir));
	write_number(dir, "free_hugepages", pool);
	write_number(dir, "resv_hugepages", reserved);
	spec->machine = new0(VmMachine);
	spec->machine->huge_pages = kind;
	spec->machine->memory_mib = memory_mib;
	r = huge_pages_check(spec, dir, err);
	cr_assert_eq(file_remove_tree(dir), 0);
	return r;
}

/* What huge_pages_check() says to @memory_mib in pages of @kind with @pool free; NULL: no pool. */
static int check(VmHugePages kind, uint64_t memory_mib, const char *pool, Error *err)
{
	return check_reserved(kind, memory_mib, pool, "0\n", err);
}

Test(huge_pages, exactly_enough_are_enough)
{
	Error err = { 0 };

	cr_assert_eq(check(VM_HUGE_PAGES_2M, 256, "128\n", &err), 0, "%s", err.what);
	cr_assert_eq(check(VM_HUGE_PAGES_2M, 0, "64\n", &err), 0, "%s", err.what);
	cr_assert_eq(check(VM_HUGE_PAGES_2M, 1048576, "18446744073709551615\n", &err), 0);
	cr_assert_not(error_is_set(&err));
}

/* The default machine's 128 MiB do not fit into @pool, which has @left. */
static void check_short(const char *pool, uint64_t left)
{
	Error err = { 0 };

	cr_assert_eq(check(VM_HUGE_PAGES_2M, 0, pool, &err), -1);

	cr_assert_eq(err.kind, ERROR_CAPACITY);
	cr_assert_str_eq(err.resource, "huge_pages_2m");
	cr_assert_eq(err.requested, 64);
	cr_assert_eq(err.available, left);
}

Test(huge_pages, one_too_few_is_a_lack_of_capacity)
{
	check_short("63\n", 63);
	check_short("0\n", 0);
}

Test(huge_pages, what_others_have_reserved_is_not_free)
{
	Error err = { 0 };

	cr_assert_eq(check_reserved(VM_HUGE_PAGES_2M, 0, "65\n", "1\n", &err), 0, "%s", err.what);
	cr_assert_eq(check_reserved(VM_HUGE_PAGES_2M, 0, "64\n", NULL, &err), 0, "%s", err.what);
	cr_assert_eq(check_reserved(VM_HUGE_PAGES_2M, 0, "65\n", "2\n", &err), -1);
	cr_assert_eq(err.available, 63);
	error_clear(&err);
	cr_assert_eq(check_reserved(VM_HUGE_PAGES_2M, 0, "65\n", "66\n", &err), -1);

	cr_assert_eq(err.kind, ERROR_CAPACITY);
	cr_assert_eq(err.requested, 64);
	cr_assert_eq(err.available, 0);
}

static uint64_t other_memory(const char *meminfo)
{
	char dir[] = "/tmp/hearth-pages-XXXXXX";
	cleanup_free char *path = NULL;
	uint64_t mib;

	cr_assert_not_null(mkdtemp(dir));
	path = text_printf("%s/meminfo", dir);
	write_number(dir, "meminfo", meminfo);
	mib = huge_pages_other_memory(path);
	cr_assert_eq(file_remove_tree(dir), 0);
	return mib;
}

Test(huge_pages, memory_is_what_no_huge_page_has_of_any_size)
{
	cr_assert_eq(other_memory("MemTotal:  8388608 kB\nHugetlb:  2097152 kB\n"), 6144);
	cr_assert_eq(other_memory("MemTotal:  8388608 kB\nMemFree: 1 kB\n"), 8192);
	cr_assert_eq(other_memory("MemTotal:  1024 kB\nHugetlb:  2048 kB\n"), 0);
	cr_assert_eq(other_memory("nothing"), 0);
	cr_assert_eq(other_memory(NULL), 0);
}

Test(huge_pages, a_host_without_a_pool_has_none)
{
	check_short(NULL, 0);
	check_short("", 0);
}

Test(huge_pages, other_pages_are_not_counted)
{
	Error err = { 0 };

	cr_assert_eq(check(VM_HUGE_PAGES_UNSET, 256, "0\n", &err), 0);
	cr_assert_eq(check(VM_HUGE_PAGES_NONE, 256, "0\n", &err), 0);
	cr_assert_eq(check(VM_HUGE_PAGES_TRANSPARENT, 256, "0\n", &err), 0);
	cr_assert_not(error_is_set(&err));
}
