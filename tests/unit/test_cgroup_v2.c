/* SPDX-License-Identifier: Apache-2.0 */

/* Finding hierarchies, and version 2 on a directory made to look like it, the test its kernel. */

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "runtime/cgroup.h"

#include <criterion/criterion.h>
#include <string.h>

enum {
	LONG = 30 * USEC_PER_SEC, /* never reached where the code is right */
};

static const VmLimits limits = { .cpu_millis = 1500, .memory_mib = 64, .pids = 33 };

/* A directory that looks like the root of version 2. */
typedef struct Fake {
	char dir[40];
	char *mounts;
	CgroupHost host;
	char why[200];
	int found; /* what cgroup_find() said */
} Fake;

static void put_file(const Fake *fake, const char *path, const char *text)
{
	cleanup_free char *whole = text_printf("%s/%s", fake->dir, path);
	cleanup_free char *dir = text_dup(whole);

	*strrchr(dir, '/') = '\0';
	cr_assert_eq(file_make_dirs(dir), 0);
	cr_assert_eq(file_write_atomic(whole, text, strlen(text)), 0);
}

/* @table: of mounts; each "%s" in it is the directory. */
static Fake *fake_new(const char *table, const char *controllers)
{
	Fake *fake = new0(Fake);
	cleanup_free char *text = NULL;

	(void)stpcpy(fake->dir, "/tmp/hearth-cgroup-XXXXXX");
	cr_assert_not_null(mkdtemp(fake->dir));
	fake->mounts = text_printf("%s/mounts", fake->dir);
	text = text_printf("cgroup2 %s/root cgroup2 rw,nsdelegate 0 0\n%s", fake->dir, table);
	put_file(fake, "mounts", text);
	put_file(fake, "root/cgroup.controllers", controllers);
	put_file(fake, "root/init.scope/memory.max", "max\n");
	put_file(fake, "root/init.scope/memory.swap.max", "max\n");
	fake->found = cgroup_find(&fake->host, fake->mounts, fake->why, sizeof fake->why);
	return fake;
}

static void fake_free(Fake *fake)
{
	cr_expect_eq(file_remove_tree(fake->dir), 0);
	free(fake->mounts);
	free(fake);
}
DEFINE_CLEANUP(Fake *, fake_free);

#define OLD_MOUNTS                                                      \
	"cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n" \
	"cgroup /sys/fs/cgroup/mem\\040ory cgroup rw,memory 0 0\n"      \
	"cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\n"
#define OLD_PIDS "cgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0\n"

Test(cgroup_find, version_2_is_taken_when_it_has_all_controllers)
{
	cleanup_(fake_freep) Fake *fake =
		fake_new(OLD_MOUNTS OLD_PIDS, "cpuset cpu io memory pids\n");

	cr_assert_eq(fake->found, 0, "%s", fake->why);

	cr_assert_eq(fake->host.version, 2);
	cr_assert(fake->host.swap);
	for (CgroupController i = 0; i < CGROUP_COUNT_; i++)
		cr_assert_eq(strncmp(fake->host.mounts[i], fake->dir, strlen(fake->dir)), 0);
}

Test(cgroup_find, version_1_is_taken_when_version_2_lacks_a_controller)
{
	cleanup_(fake_freep) Fake *fake = fake_new(OLD_MOUNTS OLD_PIDS, "cpuset io memory pids\n");

	cr_assert_eq(fake->found, 0, "%s", fake->why);

	cr_assert_eq(fake->host.version, 1);
	cr_assert_str_eq(fake->host.mounts[CGROUP_CPU], "/sys/fs/cgroup/cpu,cpuacct");
	cr_assert_str_eq(fake->host.mounts[CGROUP_MEMORY], "/sys/fs/cgroup/mem ory");
	cr_assert_str_eq(fake->host.mounts[CGROUP_PIDS], "/sys/fs/cgroup/pids");
}

Test(cgroup_find, what_is_missing_is_named)
{
	cleanup_(fake_freep) Fake *fake = fake_new(OLD_MOUNTS, "hugetlb cpuset cpu\n");
	CgroupHost host;
	char why[200];

	cr_assert_eq(fake->found, -ENOENT);
	cr_assert_str_eq(fake->why, "no control groups with the controller pids");

	cr_assert_eq(cgroup_find(&host, "/nowhere/mounts", why, sizeof why), -ENOENT);
	cr_assert_str_eq(why, "no control groups with the controller cpu");
}

Test(cgroup_v2, the_words_are_those_of_version_2)
{
	cleanup_(fake_freep) Fake *fake = fake_new("", "cpu memory pids\n");
	char words[CGROUP_WORDS_MAX][CGROUP_WORD_MAX];

	cr_assert_eq(cgroup_words(&fake->host, &limits, words), 4);

	cr_assert_str_eq(words[0], "cpu.max=150000 100000");
	cr_assert_str_eq(words[1], "memory.max=67108864");
	cr_assert_str_eq(words[2], "pids.max=33");
	cr_assert_str_eq(words[3], "memory.swap.max=0");
	fake->host.swap = false;
	cr_assert_eq(cgroup_words(&fake->host, &limits, words), 3);
}

static void put_fake_group(const Fake *fake, const char *procs)
{
	put_file(fake, "root/hearth/vm/cpu.max", "150000 100000\n");
	put_file(fake, "root/hearth/vm/memory.max", "67108864\n");
	put_file(fake, "root/hearth/vm/memory.swap.max", "0\n");
	put_file(fake, "root/hearth/vm/pids.max", "33\n");
	put_file(fake, "root/hearth/vm/cgroup.procs", procs);
	put_file(fake, "root/hearth/vm/cgroup.kill", "");
}

Test(cgroup_v2, limits_and_members_are_read_back)
{
	cleanup_(fake_freep) Fake *fake = fake_new("", "cpu memory pids\n");
	Error err = { 0 }, other = { 0 };

	put_fake_group(fake, "0\n12\n4711\n");

	cr_assert_eq(cgroup_verify(&fake->host, "hearth/vm", &limits, 4711, &err), 0, "%s",
		     err.what);
	cr_assert_eq(cgroup_verify(&fake->host, "hearth/vm", &limits, 471, &err), -1);
	cr_assert_not_null(strstr(err.what, "pid 471, is not in"), "%s", err.what);
	put_file(fake, "root/hearth/vm/memory.swap.max", "max\n");
	cr_assert_eq(cgroup_verify(&fake->host, "hearth/vm", &limits, 4711, &other), -1);
	cr_assert_not_null(strstr(other.what, "memory.swap.max is 'max', not '0'"), "%s",
			   other.what);
}

Test(cgroup_v2, usage_is_read_in_its_units)
{
	cleanup_(fake_freep) Fake *fake = fake_new("", "cpu memory pids\n");
	CgroupUsage usage;

	put_file(fake, "root/hearth/vm/cpu.stat",
		 "core_sched.force_idle_usec 7\nusage_usec 1234\nuser_usec 1\nthrottled_usec 56\n");
	put_file(fake, "root/hearth/vm/memory.current", "4096\n");
	put_file(fake, "root/hearth/vm/pids.current", "3\n");

	cgroup_usage(&usage, &fake->host, "hearth/vm");

	cr_assert_eq(usage.cpu_usec, 1234);
	cr_assert_eq(usage.cpu_throttled_usec, 56);
	cr_assert_eq(usage.memory_bytes, 4096);
	cr_assert_eq(usage.memory_peak_bytes, 0, "no file, no figure");
	cr_assert_eq(usage.pids, 3);
}

Test(cgroup_v2, a_group_that_is_gone_uses_nothing)
{
	cleanup_(fake_freep) Fake *fake = fake_new("", "cpu memory pids\n");
	CgroupUsage usage = { .pids = 7 };

	cgroup_usage(&usage, &fake->host, "hearth/gone");

	cr_assert_eq(usage.pids + usage.memory_bytes + usage.cpu_usec, 0);
}

static void check_kill_file(const Fake *fake, const char *group, const char *wanted)
{
	cleanup_free char *path = text_printf("%s/root/%s/cgroup.kill", fake->dir, group);
	cleanup_free char *text = NULL;

	cr_assert_eq(file_read(&text, NULL, path, 16), 0);
	cr_assert_str_eq(text, wanted, "%s", path);
}

/* What the kernel makes of it, a guest shows: tests/e2e/test_cgroup_v2.py. */
Test(cgroup_v2, a_group_is_told_to_die_as_a_whole_and_its_sibling_is_not)
{
	cleanup_(fake_freep) Fake *fake = fake_new("", "cpu memory pids\n");

	put_fake_group(fake, "");
	put_file(fake, "root/hearth/other/cgroup.kill", "");

	/* A directory with files in it is no kernel's that rmdir() removes. */
	cr_assert_eq(cgroup_end(&fake->host, "hearth/vm", LONG), -ENOTEMPTY);

	check_kill_file(fake, "hearth/vm", "1");
	check_kill_file(fake, "hearth/other", "");
}
