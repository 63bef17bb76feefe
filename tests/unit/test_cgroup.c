/* SPDX-License-Identifier: Apache-2.0 */

/* On the host's real control groups, whichever version it has. */

#include "base/clock.h"
#include "base/text.h"
#include "runtime/cgroup.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum {
	LONG = 30 * USEC_PER_SEC, /* never reached where the code is right */
	SHORT = 50 * USEC_PER_MSEC,
};

static const VmLimits limits = { .cpu_millis = 1500, .memory_mib = 64, .pids = 33 };

/* A parent of the test's own, in each real hierarchy, with one group. */
typedef struct Tree {
	CgroupHost host;
	char parent[40], group[60];
} Tree;

static void skip(const char *why)
{
	(void)fprintf(stderr, "skipped: %s\n", why);
	cr_skip_test("%s", why);
}

/* <mount>/@group or, with a @file, <mount>/@group/@file; to free. */
static char *path_of(const Tree *tree, CgroupController controller, const char *group,
		     const char *file)
{
	return text_printf("%s/%s%s%s", tree->host.mounts[controller], group, file ? "/" : "",
			   file ? file : "");
}

static int tell(const char *path, const char *text)
{
	cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

static void write_in(const Tree *tree, CgroupController controller, const char *group,
		     const char *file, const char *text)
{
	cleanup_free char *path = path_of(tree, controller, group, file);

	cr_assert_eq(tell(path, text), 0, "%s: %s", path, strerror(errno));
}

static void make_group(const Tree *tree, const char *group)
{
	for (CgroupController i = 0; i < CGROUP_COUNT_; i++) {
		cleanup_free char *path = path_of(tree, i, group, NULL);

		cr_assert(mkdir(path, 0755) == 0 || errno == EEXIST, "%s: %s", path,
			  strerror(errno));
	}
}

static bool is_there(const Tree *tree, const char *group)
{
	bool found = false;

	for (CgroupController i = 0; i < CGROUP_COUNT_; i++) {
		cleanup_free char *path = path_of(tree, i, group, NULL);

		found = found || access(path, F_OK) == 0;
	}
	return found;
}

/* As the jailer does it. */
static void write_words(const Tree *tree, const char *group)
{
	char words[CGROUP_WORDS_MAX][CGROUP_WORD_MAX];
	size_t count = cgroup_words(&tree->host, &limits, words);

	for (size_t i = 0; i < count; i++) {
		char *value = strchr(words[i], '=');
		CgroupController controller = words[i][0] == 'c'   ? CGROUP_CPU
					      : words[i][0] == 'm' ? CGROUP_MEMORY
								   : CGROUP_PIDS;

		*value++ = '\0';
		write_in(tree, controller, group, words[i], value);
	}
}

static Tree *tree_new(void)
{
	CgroupHost host;
	char why[200];
	Tree *tree;

	if (geteuid() != 0)
		skip("control groups need root");
	if (cgroup_find(&host, NULL, why, sizeof why) < 0)
		skip(why);
	tree = new0(Tree);
	tree->host = host;
	(void)snprintf(tree->parent, sizeof tree->parent, "hearth-test-%d", (int)getpid());
	(void)snprintf(tree->group, sizeof tree->group, "%s/vm", tree->parent);
	make_group(tree, tree->parent);
	if (tree->host.version == 2) {
		write_in(tree, CGROUP_CPU, ".", "cgroup.subtree_control", "+cpu +memory +pids");
		write_in(tree, CGROUP_CPU, tree->parent, "cgroup.subtree_control",
			 "+cpu +memory +pids");
	}
	make_group(tree, tree->group);
	return tree;
}

static void tree_free(Tree *tree)
{
	cr_expect_eq(cgroup_end(&tree->host, tree->group, LONG), 0);
	for (CgroupController i = 0; i < CGROUP_COUNT_; i++) {
		cleanup_free char *path = path_of(tree, i, tree->parent, NULL);

		cr_expect(rmdir(path) == 0 || errno == ENOENT, "%s: %s", path, strerror(errno));
	}
	free(tree);
}
DEFINE_CLEANUP(Tree *, tree_free);

/* Skipping leaves the test at once. */
static void skip_with(Tree **tree, const char *why)
{
	tree_free(take_ptr(*tree));
	skip(why);
}

/* A child in @group that no SIGTERM ends. */
static pid_t put_child(const Tree *tree, const char *group)
{
	char text[16];
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (pid == 0) {
		(void)signal(SIGTERM, SIG_IGN);
		for (;;)
			(void)pause();
	}
	(void)snprintf(text, sizeof text, "%d", (int)pid);
	for (CgroupController i = 0; i < CGROUP_COUNT_; i++)
		write_in(tree, i, group, "cgroup.procs", text);
	return pid;
}

static void end_child(pid_t pid)
{
	(void)kill(pid, SIGKILL);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
}

static void check_unverified(const Tree *tree, pid_t pid, const char *words)
{
	Error err = { 0 };

	cr_assert_eq(cgroup_verify(&tree->host, tree->group, &limits, pid, &err), -1);

	cr_assert_eq(err.kind, ERROR_JAILER);
	cr_assert_not_null(strstr(err.what, words), "%s", err.what);
}

Test(cgroup, limits_written_as_told_hold_for_a_process_in_the_group)
{
	cleanup_(tree_freep) Tree *tree = tree_new();
	pid_t pid = put_child(tree, tree->group);
	Error err = { 0 };

	write_words(tree, tree->group);

	cr_assert_eq(cgroup_verify(&tree->host, tree->group, &limits, pid, &err), 0, "%s",
		     err.what);
	check_unverified(tree, getpid(), "is not in");
	end_child(pid);
	check_unverified(tree, pid, "is not in");
}

Test(cgroup, a_limit_that_does_not_hold_is_named_with_both_values)
{
	cleanup_(tree_freep) Tree *tree = tree_new();
	pid_t pid = put_child(tree, tree->group);
	bool old = tree->host.version == 1;

	write_words(tree, tree->group);
	write_in(tree, CGROUP_PIDS, tree->group, "pids.max", "34");
	check_unverified(tree, pid, "/pids.max is '34', not '33'");

	write_in(tree, CGROUP_MEMORY, tree->group, old ? "memory.limit_in_bytes" : "memory.max",
		 "1048576");
	check_unverified(tree, pid, "is '1048576', not '67108864'");

	write_in(tree, CGROUP_CPU, tree->group, old ? "cpu.cfs_quota_us" : "cpu.max",
		 old ? "-1" : "max");
	check_unverified(tree, pid, old ? "is '-1', not '150000'" : "not '150000 100000'");
	end_child(pid);
}

Test(cgroup, swap_is_no_way_past_the_limit_of_memory)
{
	cleanup_(tree_freep) Tree *tree = tree_new();
	bool old = tree->host.version == 1;
	pid_t pid;

	if (!tree->host.swap)
		skip_with(&tree, "this kernel's groups have no limit of swap");
	pid = put_child(tree, tree->group);
	write_words(tree, tree->group);
	write_in(tree, CGROUP_MEMORY, tree->group,
		 old ? "memory.memsw.limit_in_bytes" : "memory.swap.max",
		 old ? "9223372036854771712" : "max");

	check_unverified(tree, pid,
			 old ? "memory.memsw.limit_in_bytes is '" : "memory.swap.max is 'max'");
	end_child(pid);
}

Test(cgroup, a_group_of_one_hierarchy_alone_does_not_pass)
{
	cleanup_(tree_freep) Tree *tree = tree_new();
	cleanup_free char *path = NULL;

	if (tree->host.version == 2)
		skip_with(&tree, "version 2 has but one hierarchy");
	path = path_of(tree, CGROUP_PIDS, tree->group, NULL);
	write_words(tree, tree->group);
	cr_assert_eq(rmdir(path), 0);

	check_unverified(tree, getpid(), "pids.max is ''");
}

Test(cgroup, ending_a_group_kills_what_ignores_sigterm_and_leaves_nothing)
{
	cleanup_(tree_freep) Tree *tree = tree_new();
	pid_t first = put_child(tree, tree->group), second = put_child(tree, tree->group);
	int status = 0;

	cr_assert_eq(cgroup_end(&tree->host, tree->group, LONG), 0);

	cr_assert_not(is_there(tree, tree->group));
	cr_assert_eq(waitpid(first, &status, 0), first);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	cr_assert_eq(waitpid(second, &status, 0), second);
	cr_assert_eq(cgroup_end(&tree->host, tree->group, 0), 0, "absent is success");
}

Test(cgroup, a_sibling_group_is_left_alone)
{
	cleanup_(tree_freep) Tree *tree = tree_new();
	cleanup_free char *sibling = text_printf("%s/other", tree->parent);
	pid_t pid;

	make_group(tree, sibling);
	pid = put_child(tree, sibling);

	cr_assert_eq(cgroup_end(&tree->host, tree->group, LONG), 0);

	cr_assert(is_there(tree, sibling));
	cr_assert_eq(waitpid(pid, NULL, WNOHANG), 0);
	cr_assert_eq(cgroup_end(&tree->host, sibling, LONG), 0);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
}

Test(cgroup, a_group_that_holds_another_is_not_removed)
{
	cleanup_(tree_freep) Tree *tree = tree_new();
	cleanup_free char *below = text_printf("%s/below", tree->group);

	make_group(tree, below);

	cr_assert_eq(cgroup_end(&tree->host, tree->group, SHORT), -ETIMEDOUT);

	cr_assert(is_there(tree, below));
	cr_assert_eq(cgroup_end(&tree->host, below, LONG), 0);
}

/* Each is a caller's mistake: no group is named so. */
#define NAME_IS_REFUSED(what, name)                                    \
	Test(cgroup_name, what##_is_no_groups_name, .signal = SIGABRT) \
	{                                                              \
		const CgroupHost host = { .version = 2 };              \
                                                                       \
		(void)!cgroup_end(&host, name, 0);                     \
	}

NAME_IS_REFUSED(nothing, "")
NAME_IS_REFUSED(a_parent, "hearth")
NAME_IS_REFUSED(an_absolute_path, "/hearth/vm")
NAME_IS_REFUSED(a_way_up, "../vm")
NAME_IS_REFUSED(a_way_up_in_the_middle, "hearth/../vm")
NAME_IS_REFUSED(the_parent_once_more, "hearth/.")
NAME_IS_REFUSED(an_empty_name, "hearth//vm")
NAME_IS_REFUSED(an_empty_last_name, "hearth/vm/")

Test(cgroup, usage_counts_what_runs_in_the_group)
{
	cleanup_(tree_freep) Tree *tree = tree_new();
	pid_t first = put_child(tree, tree->group), second = put_child(tree, tree->group);
	CgroupUsage usage = { 0 };

	cgroup_usage(&usage, &tree->host, tree->group);

	cr_assert_eq(usage.pids, 2);
	cr_assert_geq(usage.memory_peak_bytes, usage.memory_bytes);
	end_child(first);
	end_child(second);
}
