/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What hearth-keeper does for a VMM in a jail. A shell script plays the jailer: it leaves a process
 * behind, as the jailer does.
 */

#include "runtime/cgroup.h"
#include "tests/unit/keeper_bench.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>

enum {
	USER = 1900000007,
};

#define LEAVE_ONE "sleep 1000 >/dev/null 2>&1 & exit 0"

typedef struct JailBench {
	Bench bench;
	char *root;
	char *file; /* of the host, root's alone */
	const char *own_group;
} JailBench;

static void write_file(const char *path, const char *text, mode_t mode)
{
	cr_assert_eq(file_write_atomic(path, text, strlen(text)), 0);
	cr_assert_eq(chmod(path, mode), 0);
}

static JailBench jail_bench_new(void)
{
	JailBench jail = { .bench = bench_new() };

	jail.root = text_printf("%s/root", jail.bench.dir);
	jail.file = text_printf("%s/image", jail.bench.dir);
	cr_assert_eq(mkdir(jail.root, 0755), 0);
	/* The jailer gives the root to the user; here it only has to be reached by it. */
	cr_assert_eq(chmod(jail.bench.dir, 0755), 0);
	write_file(jail.file, "of the host", 0600);
	return jail;
}

static void jail_bench_free(JailBench *jail)
{
	bench_free(&jail->bench);
	free(jail->root);
	free(jail->file);
}

/* Starts @script as the jailer, with @file as "disk" in the jail. */
static int start_jail(JailBench *jail, const char *file, bool read_only, const char *script,
		      Error *err)
{
	cleanup_free char *name = text_dup("disk"), *path = text_dup(file);
	const KeeperJailFile files[] = { { name, path, read_only } };
	const KeeperJailConfig inside = { .root = jail->root,
					  .uid = USER,
					  .files = files,
					  .count = array_size(files),
					  .own_group = jail->own_group };
	cleanup_free char *fifo = text_printf("%s/console.fifo", jail->root);
	cleanup_free char *whole = text_printf("cd %s; %s", jail->root, script);
	const KeeperConfig config = { .console_fifo = fifo, .jail = &inside };

	return start_with(&jail->bench, "/bin/sh", whole, config, err);
}

static void start_well(JailBench *jail, bool read_only, const char *script)
{
	Error err = { 0 };

	cr_assert_eq(start_jail(jail, jail->file, read_only, script, &err), 0, "%s", err.what);
}

/* What the script said, once it has said @text. */
static void wait_said(const JailBench *jail, const char *text)
{
	cleanup_free char *path = text_printf("%s/vmm.log", jail->bench.dir);
	int64_t deadline = clock_mono_us() + WAIT;
	bool said = false;

	while (!said && clock_mono_us() < deadline) {
		cleanup_free char *log = NULL;

		if (file_read(&log, NULL, path, CONTENTS_MAX) == 0)
			said = strstr(log, text);
		if (!said)
			clock_sleep_us(USEC_PER_MSEC);
	}
	cr_assert(said, "'%s' never said", text);
}

#define AS_USER "setpriv --reuid 1900000007 --regid 1900000007 --clear-groups "

Test(keeper_jail, the_jails_user_uses_a_file_whose_owner_stays_as_it_was)
{
	cleanup_(jail_bench_free) JailBench jail = jail_bench_new();
	cleanup_free char *text = NULL;
	struct stat st;

	start_well(&jail, false,
		   AS_USER "cat disk; " AS_USER
			   "sh -c 'echo written >disk'; echo done; " LEAVE_ONE);

	wait_said(&jail, "of the host");
	wait_said(&jail, "done");
	cr_assert_eq(file_read(&text, NULL, jail.file, CONTENTS_MAX), 0);
	cr_assert_str_eq(text, "written\n");
	cr_assert_eq(stat(jail.file, &st), 0);
	cr_assert_eq(st.st_uid, 0);
	cr_assert_eq(st.st_mode & 07777, 0600);
}

Test(keeper_jail, a_read_only_file_cannot_be_written_even_by_root)
{
	cleanup_(jail_bench_free) JailBench jail = jail_bench_new();
	cleanup_free char *text = NULL;

	start_well(&jail, true, "echo no >disk || echo refused; " LEAVE_ONE);

	wait_said(&jail, "refused");
	cr_assert_eq(file_read(&text, NULL, jail.file, CONTENTS_MAX), 0);
	cr_assert_str_eq(text, "of the host");
}

Test(keeper_jail, the_host_sees_no_mount_of_a_jail)
{
	cleanup_(jail_bench_free) JailBench jail = jail_bench_new();
	cleanup_free char *place = text_printf("%s/disk", jail.root);
	cleanup_free char *mounts = NULL;
	struct stat st;

	start_well(&jail, true, LEAVE_ONE);

	cr_assert_eq(stat(place, &st), 0);
	cr_assert_eq(st.st_size, 0);
	cr_assert_eq(file_read(&mounts, NULL, "/proc/self/mounts", CONTENTS_MAX), 0);
	cr_assert_null(strstr(mounts, jail.root));
}

Test(keeper_jail, the_vmm_is_what_the_jailer_left_behind)
{
	cleanup_(jail_bench_free) JailBench jail = jail_bench_new();
	cleanup_free char *path = NULL, *name = NULL;

	/* Until it has executed sleep, the child is called as the shell is. */
	start_well(&jail, true,
		   "sleep 1000 >/dev/null 2>&1 & until grep -q sleep /proc/$!/comm; do :; done");

	path = text_printf("/proc/%d/comm", (int)jail.bench.state.vmm.pid);
	cr_assert_eq(file_read(&name, NULL, path, CONTENTS_MAX), 0);
	cr_assert_str_eq(name, "sleep\n");
}

Test(keeper_jail, the_console_is_a_fifo_of_the_user)
{
	cleanup_(jail_bench_free) JailBench jail = jail_bench_new();
	cleanup_free char *fifo = text_printf("%s/console.fifo", jail.root);
	cleanup_free char *console = NULL;
	int64_t deadline = clock_mono_us() + WAIT;
	struct stat st;

	start_well(&jail, true, AS_USER "sh -c 'echo from the guest >console.fifo'; " LEAVE_ONE);

	cr_assert_eq(stat(fifo, &st), 0);
	cr_assert(S_ISFIFO(st.st_mode));
	cr_assert_eq(st.st_uid, USER);
	while (!(console && strstr(console, "from the guest")) && clock_mono_us() < deadline) {
		free(console);
		console = console_tail(jail.bench.dir, CONSOLE_SOURCE_SERIAL, CONSOLE_MAX);
	}
	cr_assert(console && strstr(console, "from the guest"));
}

Test(keeper_jail, how_the_vmm_ended_is_recorded_without_waiting_for_the_fifo)
{
	cleanup_(jail_bench_free) JailBench jail = jail_bench_new();
	KeeperExit exit;
	int fd = -1;

	start_well(&jail, true, "sh -c 'sleep 0.3; kill -9 $$' >/dev/null 2>&1 & exit 0");
	if (keeper_open(&fd, &jail.bench.state) == 0)
		cr_assert_eq(process_wait(fd, clock_mono_us() + WAIT), 0);
	closep(&fd);

	cr_assert_eq(keeper_read_exit(&exit, jail.bench.dir), 0);
	cr_assert_eq(exit.signal, 9);
}

static void check_refused(JailBench *jail, const char *file, const char *script, const char *words)
{
	Error err = { 0 };

	cr_assert_eq(start_jail(jail, file, true, script, &err), -1);

	cr_assert_eq(err.kind, ERROR_JAILER, "%s", err.what);
	cr_assert_not_null(strstr(err.what, words), "%s", err.what);
}

Test(keeper_jail, a_jailer_that_fails_is_quoted)
{
	cleanup_(jail_bench_free) JailBench jail = jail_bench_new();

	check_refused(&jail, jail.file, "echo no room >&2; exit 7", "code 7: no room");
	check_refused(&jail, jail.file, "exit 0", "left no VMM behind");
}

/* The groups @pid is in; to free. */
static char *group_of(pid_t pid)
{
	cleanup_free char *path = text_printf("/proc/%d/cgroup", (int)pid);
	char *text = NULL;

	cr_assert_eq(file_read(&text, NULL, path, CONTENTS_MAX), 0);
	return text;
}

Test(keeper_jail, moves_between_groups_are_made_quick_and_nobody_is_moved)
{
	CgroupHost host;
	char why[128];
	cleanup_(jail_bench_free) JailBench jail = jail_bench_new();
	cleanup_free char *own = NULL, *here = group_of(getpid()), *there = NULL;

	cr_assert_eq(cgroup_find(&host, NULL, why, sizeof why), 0, "%s", why);
	own = cgroup_own(&host);
	cr_assert_eq(access(own, F_OK), 0, "%s", own);
	jail.own_group = own;

	start_well(&jail, false, LEAVE_ONE);

	there = group_of(jail.bench.state.keeper.pid);
	cr_assert_str_eq(there, here);
}

Test(keeper_jail, a_group_that_cannot_be_opened_is_no_reason_not_to_start)
{
	cleanup_(jail_bench_free) JailBench jail = jail_bench_new();

	jail.own_group = "/nonexistent";

	start_well(&jail, false, LEAVE_ONE);
}

Test(keeper_jail, what_is_no_file_any_more_is_refused)
{
	cleanup_(jail_bench_free) JailBench jail = jail_bench_new();
	cleanup_free char *link = text_printf("%s/link", jail.bench.dir);

	cr_assert_eq(symlink(jail.file, link), 0);

	check_refused(&jail, link, LEAVE_ONE, "link: Too many levels of symbolic links");
	check_refused(&jail, "/nonexistent/file", LEAVE_ONE, "/nonexistent/file");
	check_refused(&jail, "/dev/null", LEAVE_ONE, "/dev/null is neither");
}

/* A jail like the jailer's: a namespace whose root it is. */
#define ENTER_AND_LEAVE_ONE                                                               \
	"cp /bin/busybox .; unshare -m sh -c 'mount --make-rslave /; mount --rbind . .; " \
	"cd \"$PWD\"; mkdir old; pivot_root . old; cd /; exec /busybox sh -c "            \
	"\"/busybox umount -l /old; exec /busybox sleep 1000\"' >/dev/null 2>&1 & "       \
	"sleep 0.5; exit 0"

Test(keeper_jail, a_file_can_be_put_into_the_jail_of_a_vmm_that_runs)
{
	cleanup_(jail_bench_free) JailBench jail = jail_bench_new();
	cleanup_free char *name = text_dup("second"),
			  *path = text_printf("%s/other", jail.bench.dir);
	const KeeperJailFile files[] = { { name, path, true } };
	const KeeperJailConfig inside = {
		.root = jail.root, .uid = USER, .files = files, .count = array_size(files)
	};
	cleanup_free char *seen = NULL, *old = NULL, *text = NULL;
	Error err = { 0 };

	write_file(path, "another", 0600);
	start_well(&jail, true, ENTER_AND_LEAVE_ONE);
	seen = text_printf("/proc/%d/root/second", (int)jail.bench.state.vmm.pid);
	old = text_printf("/proc/%d/root/disk", (int)jail.bench.state.vmm.pid);

	cr_assert_eq(keeper_attach(jail.bench.keeper, jail.bench.dir, &inside, "disk", &err), 0,
		     "%s", err.what);

	cr_assert_eq(file_read(&text, NULL, seen, CONTENTS_MAX), 0);
	cr_assert_str_eq(text, "another");
	cr_assert_neq(access(old, F_OK), 0);
}
