/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "runtime/images/image_tools.h"
#include "tests/support/processes.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum {
	SIZE = 1 << 20,
};

/* A file of SIZE bytes in a directory that is closed to others, and a tool that is to work on it.
 */
typedef struct Bench {
	char dir[40];
	char script[512];
	char *argv[4];
	ImageTool tool;
	ImageToolResult result;
	Error err;
} Bench;

static void close_bench(Bench *b)
{
	free(b->result.output);
	(void)close(b->tool.file);
	(void)!file_remove_tree(b->dir);
}

static void open_bench(Bench *b, const char *script)
{
	static char shell[] = "/bin/sh", option[] = "-c";

	*b = (Bench){ .dir = "/tmp/hearth-tool.XXXXXX" };
	if (geteuid() != 0)
		cr_skip_test("becoming another user needs root");
	cr_assert_not_null(mkdtemp(b->dir));
	text_copy(b->script, sizeof b->script, script);
	memcpy(b->argv, (char *[]){ shell, option, b->script, NULL }, sizeof b->argv);
	b->tool = (ImageTool){
		.argv = b->argv,
		.uid = lone_uid(),
		.file = open(b->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600),
		.timeout = 30 * (int64_t)USEC_PER_SEC,
	};
	cr_assert_geq(b->tool.file, 0);
	cr_assert_eq(ftruncate(b->tool.file, SIZE), 0);
}

/* A test with a bench whose tool is that script. */
#define TOOL_TEST(name, script)                \
	static void name(Bench *b);            \
	Test(image_tools, name)                \
	{                                      \
		cleanup_(close_bench) Bench b; \
                                               \
		open_bench(&b, script);        \
		name(&b);                      \
	}                                      \
	static void name(Bench *b)

static void must_run(Bench *b)
{
	cr_assert_eq(image_tool_run(&b->result, &b->tool, &b->err), 0, "%s", b->err.what);
	cr_assert_eq(b->result.code, 0, "%s", b->result.output);
}

TOOL_TEST(a_tool_is_nobody_and_can_do_nothing,
	  "id -u; id -G; grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs' /proc/self/status | tr -d "
	  "'\\n';"
	  "tail -n +3 /proc/net/dev | wc -l; echo /proc/[0-9]*; ulimit -c; ulimit -f")
{
	cleanup_free char *expected =
		text_printf("%u\n%u\n"
			    "CapInh:\t0000000000000000CapPrm:\t0000000000000000"
			    "CapEff:\t0000000000000000CapBnd:\t0000000000000000"
			    "CapAmb:\t0000000000000000NoNewPrivs:\t1"
			    "1\n/proc/1\n0\n2048\n",
			    b->tool.uid, b->tool.uid);

	must_run(b);

	cr_expect_str_eq(b->result.output, expected);
}

TOOL_TEST(a_tool_changes_its_file_and_no_other,
	  "printf abc | dd of=" IMAGE_TOOL_FILE " conv=notrunc status=none || exit 1;"
	  "ls /proc/1/root/root 2>/dev/null; ls \"$DIR\" 2>/dev/null && exit 2; :")
{
	cleanup_free char *dir = text_printf("DIR=%s", b->dir);
	const char *const environment[] = { dir, NULL };
	char bytes[3];
	struct stat st;

	b->tool.environment = environment;
	must_run(b);

	cr_assert_eq(pread(b->tool.file, bytes, sizeof bytes, 0), sizeof bytes);
	cr_expect_eq(memcmp(bytes, "abc", sizeof bytes), 0);
	cr_assert_eq(fstat(b->tool.file, &st), 0);
	cr_expect_eq(st.st_uid, 0, "it is root's again");
	cr_expect_eq(st.st_gid, 0);
}

TOOL_TEST(its_file_does_not_become_larger, "trap '' XFSZ; printf abc | dd of=" IMAGE_TOOL_FILE
					   " seek=2M oflag=seek_bytes status=none")
{
	struct stat st;

	cr_assert_eq(image_tool_run(&b->result, &b->tool, &b->err), 0, "%s", b->err.what);

	cr_expect_neq(b->result.code, 0);
	cr_assert_eq(fstat(b->tool.file, &st), 0);
	cr_expect_leq(st.st_size, SIZE);
}

TOOL_TEST(inputs_are_given_as_they_are, "cat <&4; cat <&5; env | grep -c SECRET; :")
{
	int inputs[2];

	for (size_t i = 0; i < array_size(inputs); i++) {
		cr_assert_eq(file_in_memory(&inputs[i], i ? "two" : "one", 3), 0);
		cr_assert_eq(lseek(inputs[i], 0, SEEK_SET), 0);
	}
	cr_assert_eq(setenv("SECRET", "1", 1), 0);
	b->tool.inputs = inputs;
	b->tool.input_count = array_size(inputs);
	must_run(b);

	cr_expect_str_eq(b->result.output, "onetwo0\n");
}

static bool refuse(void *user)
{
	(void)user;
	return false;
}

TOOL_TEST(given_up_it_is_ended, "sleep 100")
{
	b->tool.go_on = refuse;
	cr_assert_eq(image_tool_run(&b->result, &b->tool, &b->err), -1);

	cr_expect_eq(b->err.cause, CAUSE_TIMEOUT, "%s", b->err.what);
	cr_expect(processes_end(b->tool.uid), "something lives on");
}

TOOL_TEST(what_it_started_ends_with_it, "setsid sleep 100 >/dev/null 2>&1 & sleep 0.1")
{
	must_run(b);

	cr_expect(processes_end(b->tool.uid), "something lives on");
}

TOOL_TEST(it_has_its_time_and_no_more, "setsid sleep 100 & while :; do :; done")
{
	b->tool.timeout = USEC_PER_SEC;
	cr_assert_eq(image_tool_run(&b->result, &b->tool, &b->err), -1);

	cr_expect_eq(b->err.kind, ERROR_ROOTFS);
	cr_expect_eq(b->err.cause, CAUSE_TIMEOUT, "%s", b->err.what);
	cr_expect(processes_end(b->tool.uid), "something lives on");
}

/* Once the tool is there. */
static bool die(void *user)
{
	const Bench *b = user;

	if (has_processes(b->tool.uid))
		_exit(7);
	return true;
}

TOOL_TEST(it_ends_with_who_runs_it, "sleep 100")
{
	int status;
	pid_t child = fork();

	cr_assert_geq(child, 0);
	b->tool.go_on = die;
	b->tool.user = b;
	if (child == 0)
		_exit(image_tool_run(&b->result, &b->tool, &b->err));
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert_eq(WEXITSTATUS(status), 7);

	cr_expect(processes_end(b->tool.uid), "it lives on");
}

TOOL_TEST(one_that_is_not_there_is_named, "")
{
	static char nothing[] = "hearth-no-such-tool";

	b->argv[0] = nothing;
	cr_assert_eq(image_tool_run(&b->result, &b->tool, &b->err), -1);

	cr_expect_eq(b->err.kind, ERROR_ROOTFS);
	cr_expect_str_eq(b->err.what, "hearth-no-such-tool is not installed");
}

TOOL_TEST(what_is_missing_is_seen, "")
{
	char names[100];

	cr_expect_not(image_tools_missing(names, sizeof names), "%s", names);
	cr_assert_eq(setenv("PATH", b->dir, 1), 0);
	cr_expect(image_tools_missing(names, sizeof names));
	cr_expect_str_eq(names, "setpriv, unshare, prlimit, env, resize2fs, e2fsck, mke2fs");
}
