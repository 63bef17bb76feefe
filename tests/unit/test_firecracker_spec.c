/* SPDX-License-Identifier: Apache-2.0 */

/* Guests with all that a spec can ask for, on the real Firecracker, which says what it has made. */

#include "base/text.h"
#include "netfw/tap.h"
#include "runtime/firecracker_internal.h"
#include "runtime/keeper_link.h"
#include "tests/support/firecracker_bench.h"

#include <criterion/criterion.h>
#include <string.h>

enum {
	CONTENT_MAX = 51200,
	DEPTH_MAX = 127,
};

/* Stand in for the core's: steps go by, and nothing cancels. */
void job_step(Job *job, const char *name)
{
	(void)job;
	(void)name;
}

bool job_cancelled(const Job *job)
{
	(void)job;
	return false;
}

/* A bench whose spec has @text's fields too; boot and memory are the bench's. */
static QemuBench *bench_with(const char *text)
{
	QemuBench *bench = firecracker_bench_new("exit=loop");
	json_t *json = json_loads(text, 0, NULL);
	VmMachine *machine = bench->spec->machine;
	char **kernel = &bench->spec->boot->kernel_path, *plain = realpath(*kernel, NULL);

	cr_assert_not_null(plain, "%s", *kernel);
	free(*kernel);
	*kernel = plain;
	cr_assert_not_null(json, "%s", text);
	bench->spec->machine = NULL;
	cr_assert_eq(fields_from_json(&vm_spec_table, bench->spec, json), 0, "%s", text);
	json_decref(json);
	if (!bench->spec->machine)
		bench->spec->machine = take_ptr(machine);
	free(machine);
	bench->spec->machine->memory_mib = 16;
	return bench;
}

/* With its taps, which outlive its VMM. */
static void bench_end(QemuBench *bench)
{
	Error err = { 0 };

	cr_expect_eq(keeper_kill(bench->run_dir, QEMU_BENCH_LONG), 0);
	cr_expect_eq(bench->backend->ops->remove_leftovers(bench->backend,
							   bench->resolved.instance_id, &err),
		     0, "%s", err.what);
	qemu_bench_free(bench);
}

/* Skips the test of @bench where no tap can be made. */
static void need_taps(QemuBench *bench)
{
	char name[TAP_NAME_MAX];
	const TapConfig config = { .name = name, .owner = (uid_t)-1 };
	Error err = { 0 };

	tap_name(name, bench->resolved.instance_id, 0);
	if (tap_add(&config, &err) == 0 && tap_remove(name, &err) == 0)
		return;
	qemu_bench_free(bench);
	(void)fprintf(stderr, "skipped: %s\n", err.what);
	cr_skip_test("%s", err.what);
}

/* What the running VMM answers a GET of @path; the caller's to release. */
static json_t *get(const QemuBench *bench, const char *path)
{
	const FirecrackerCall call = { FIRECRACKER_LOOK, "GET", path, NULL };
	cleanup_(firecracker_api_closep) FirecrackerApi *api = NULL;
	json_t *answer = NULL;
	Error err = { 0 };

	cr_expect_eq(firecracker_connect(&api, &bench->job, -1, -1, 0, &err), 0, "%s", err.what);
	cr_expect_eq(firecracker_api_call(api, &call, &answer, &err), 0, "%s", err.what);
	return answer;
}

/* A JSON object of CONTENT_MAX bytes and as deep as can be, of numbers such as @number, which are
 * written out at length. */
static char *largest_content(const char *number)
{
	char *text = new0_array(char, CONTENT_MAX + 1), *at = text;

	at = stpcpy(at, "{\"deep\":");
	memset(at, '[', DEPTH_MAX - 1);
	memset(at + DEPTH_MAX - 1, ']', DEPTH_MAX - 1);
	at = stpcpy(at + 2 * (DEPTH_MAX - 1), ",\"text\":\"\xc3\xbc\\u0001\",\"long\":[0");
	while (at + strlen(number) + 3 <= text + CONTENT_MAX)
		at = stpcpy(stpcpy(at, ","), number);
	at = stpcpy(at, "]}");
	memset(at, ' ', (size_t)(text + CONTENT_MAX - at));
	return text;
}

static void check_content(const QemuBench *bench, const char *content)
{
	json_t *expected = json_loads(content, 0, NULL), *held = get(bench, "/mmds");

	cr_expect(json_equal(expected, held));
	json_decref(expected);
	json_decref(held);
}

Test(firecracker_spec, the_largest_mmds_content_boots_and_is_exchanged_for_another)
{
	QemuBench *bench = bench_with(
		"{\"network_interfaces\": [{\"interface_id\": \"eth-0\", \"mmds\": true}],"
		" \"devices\": {\"mmds\": {}}}");
	VmMmds *mmds = bench->spec->devices->mmds;
	VmSpec *to = NULL;
	Error err = { 0 };
	int r;

	need_taps(bench);
	mmds->content = largest_content("0.1");
	to = spec_copy(bench->spec);
	free(to->devices->mmds->content);
	to->devices->mmds->content = largest_content("0.7");
	cr_expect_eq(spec_check(bench->spec, &err), 0, "%s", err.what);
	cr_expect_eq(spec_check(to, &err), 0, "%s", err.what);

	r = bench->backend->ops->start(bench->backend, &bench->job, &err);

	cr_expect_eq(r, 0, "%s", err.what);
	if (r == 0) {
		qemu_bench_wait_console(bench, "tick 1");
		check_content(bench, mmds->content);
		cr_expect_eq(bench->backend->ops->update(bench->backend, &bench->job, to, &err), 0,
			     "%s", err.what);
		check_content(bench, to->devices->mmds->content);
	}
	spec_unref(to);
	bench_end(bench);
}
