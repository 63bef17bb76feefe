/* SPDX-License-Identifier: Apache-2.0 */

/* Updates of a running VM whose Firecracker refuses, is silent or ends at every position. */

#include "tests/support/fault_server.h"
#include "tests/unit/firecracker_update_suite.h"
#include "tests/unit/keeper_bench.h"

#include <assert.h>
#include <poll.h>
#include <sys/eventfd.h>

enum {
	CHANGES = 6, /* between the two specs below */
	STEPS_MAX = 2 * CHANGES + 2,
};

static bool cancel_at_once;

void job_step(Job *job, const char *name)
{
	(void)name;
	if (cancel_at_once)
		cr_assert_eq(eventfd_write(job->cancel_fd, 1), 0);
}

bool job_cancelled(const Job *job)
{
	struct pollfd poll_for = { .fd = job->cancel_fd, .events = POLLIN };

	return poll(&poll_for, 1, 0) > 0;
}

#define OFF "{\"size\":0,\"refill_time\":0}"

#define TX "PATCH /network-interfaces/e {\"iface_id\":\"e\",\"tx_rate_limiter\":{\"bandwidth\":" OFF
static const char tx_limited[] = TX ",\"ops\":{\"size\":1,\"refill_time\":2}}}\n";
static const char tx_unlimited[] = TX ",\"ops\":" OFF "}}\n";

static const char *const there[CHANGES] = {
	"PATCH /drives/a {\"drive_id\":\"a\",\"path_on_host\":\"/3\"}\n",
	"PATCH /drives/b {\"drive_id\":\"b\",\"path_on_host\":\"/4\"}\n",
	tx_limited,
	"PATCH /balloon {\"amount_mib\":9}\n",
	"PATCH /balloon/statistics {\"stats_polling_interval_s\":2}\n",
	"PUT /mmds {\"a\":1}\n",
};

static const char *const back[CHANGES] = {
	"PATCH /drives/a {\"drive_id\":\"a\",\"path_on_host\":\"/1\"}\n",
	"PATCH /drives/b {\"drive_id\":\"b\",\"path_on_host\":\"/2\"}\n",
	tx_unlimited,
	"PATCH /balloon {\"amount_mib\":8}\n",
	"PATCH /balloon/statistics {\"stats_polling_interval_s\":1}\n",
	"PUT /mmds {}\n",
};

#define REFUSES "HTTP/1.1 400 \r\nContent-Length: 25\r\n\r\n{\"fault_message\": \"nope\"}"

/* A VMM in a run directory, its API played by a server; a script plays the process. */
typedef struct Stage {
	Bench bench;
	FaultServer *server;
	VmSpec *spec, *to;
	VmResolved resolved;
	Job job;
	Error err;
} Stage;

static void stage_open(Stage *stage, const char *script, const FaultStep *steps, size_t count)
{
	cleanup_free char *path = NULL;

	*stage = (Stage){ .bench = bench_new(), .server = fault_server_new(steps, count) };
	path = text_printf("%s/firecracker.sock", stage->bench.dir);
	cr_assert_eq(link(fault_server_path(stage->server), path), 0);
	start(&stage->bench, script);
	stage->spec = spec_from_text(old_text);
	stage->to = spec_from_text(new_text);
	stage->job = (Job){ .vm_id = "vm",
			    .run_dir = stage->bench.dir,
			    .spec = stage->spec,
			    .resolved = &stage->resolved,
			    .cancel_fd = eventfd(0, EFD_CLOEXEC) };
}

static void stage_close(Stage *stage)
{
	closep(&stage->job.cancel_fd);
	spec_unref(stage->spec);
	spec_unref(stage->to);
	fault_server_free(stage->server);
	bench_free(&stage->bench);
}

static int update(Stage *stage)
{
	static Firecracker firecracker;

	error_clear(&stage->err);
	return firecracker_update(&firecracker.backend, &stage->job, stage->to, &stage->err);
}

/* The first @count of there, then of back the first @undone, the last first. */
static char *said(size_t count, size_t undone)
{
	char *text = text_dup("");

	for (size_t i = 0; i < count + undone; i++) {
		cleanup_free char *before = text;

		text = text_printf("%s%s", before,
				   i < count ? there[i] : back[undone - 1 - (i - count)]);
	}
	return text;
}

Test(firecracker_undo, every_change_is_told)
{
	static const FaultStep steps[] = { { .says = FAULT_204 } };
	cleanup_free char *expected = said(CHANGES, 0);
	Stage stage;

	stage_open(&stage, "exec sleep 1000", steps, 1);

	cr_assert_eq(update(&stage), 0, "%s", stage.err.what);

	cr_assert_str_eq(fault_server_stop(stage.server), expected);
	stage_close(&stage);
}

/* The request at @at comes out as @fault; what follows is answered as @then says. */
static void set_steps(FaultStep steps[STEPS_MAX], size_t at, FaultStep fault, const char *then)
{
	for (size_t i = 0; i < STEPS_MAX; i++)
		steps[i] = (FaultStep){ .says = i < at ? FAULT_204 : then };
	steps[at] = fault;
}

Test(firecracker_undo, one_that_is_refused_leaves_none_of_those_before_it)
{
	for (size_t at = 0; at < CHANGES; at++) {
		cleanup_free char *expected = said(at + 1, at);
		FaultStep steps[STEPS_MAX];
		Stage stage;

		set_steps(steps, at, (FaultStep){ .says = REFUSES }, FAULT_204);
		stage_open(&stage, "exec sleep 1000", steps, STEPS_MAX);

		cr_assert_eq(update(&stage), -1);

		cr_assert_not_null(strstr(stage.err.what, ": 400: nope"), "%s", stage.err.what);
		cr_assert_not(stage.job.poisoned);
		cr_assert_str_eq(fault_server_stop(stage.server), expected);
		stage_close(&stage);
	}
}

Test(firecracker_undo, one_without_an_answer_is_undone_as_well)
{
	const FaultStep cut_short = { .says = "HTTP/1.1 200 \r\nContent-Length: 9\r\n\r\n{",
				      .then = FAULT_HANGS_UP };

	for (size_t at = 0; at < CHANGES; at++) {
		cleanup_free char *expected = said(at + 1, at + 1);
		FaultStep steps[STEPS_MAX];
		Stage stage;

		set_steps(steps, at, cut_short, FAULT_204);
		stage_open(&stage, "exec sleep 1000", steps, STEPS_MAX);

		cr_assert_eq(update(&stage), -1);

		cr_assert_eq(stage.err.kind, ERROR_VMM_FAILED);
		cr_assert_not(stage.job.poisoned);
		cr_assert_str_eq(fault_server_stop(stage.server), expected);
		stage_close(&stage);
	}
}

Test(firecracker_undo, what_cannot_be_undone_poisons)
{
	for (size_t at = 0; at < CHANGES; at++) {
		FaultStep steps[STEPS_MAX];
		Stage stage;

		set_steps(steps, at, (FaultStep){ .says = REFUSES }, REFUSES);
		stage_open(&stage, "exec sleep 1000", steps, STEPS_MAX);

		cr_assert_eq(update(&stage), -1);

		cr_assert_eq(stage.job.poisoned, at > 0, "%zu",
			     at); /* before it, nothing was done */
		cr_assert_not_null(strstr(stage.err.what, ": 400: nope"), "%s", stage.err.what);
		stage_close(&stage);
	}
}

Test(firecracker_undo, a_vmm_that_has_ended_needs_no_undo)
{
	static const FaultStep steps[] = { { .says = FAULT_204 },
					   { .says = "", .then = FAULT_STALLS } };
	Stage stage;

	stage_open(&stage, "sleep 0.5", steps, array_size(steps));

	cr_assert_eq(update(&stage), -1);

	cr_assert_eq(stage.err.kind, ERROR_VMM_FAILED);
	cr_assert_not(stage.job.poisoned);
	cr_assert_eq(update(&stage), -1);
	cr_assert_not_null(strstr(stage.err.what, "firecracker has ended"));
	stage.job.whole = true;
	cr_assert_eq(update(&stage), -1);
	cr_assert_not(stage.job.poisoned);
	stage_close(&stage);
}

Test(firecracker_undo, one_that_is_given_up_is_undone)
{
	static const FaultStep steps[] = { { .says = FAULT_204 } };
	Stage stage;

	stage_open(&stage, "exec sleep 1000", steps, 1);
	cancel_at_once = true;

	cr_assert_eq(update(&stage), -1);

	cr_assert_not_null(strstr(stage.err.what, "given up"), "%s", stage.err.what);
	cr_assert_not(stage.job.poisoned);
	cr_assert_not_null(strstr(fault_server_stop(stage.server), back[0]));
	stage_close(&stage);
}

#define CONFIG                                                       \
	"{\"drives\":[{\"drive_id\":\"a\",\"path_on_host\":\"/3\"}," \
	"{\"drive_id\":\"b\",\"path_on_host\":\"/x\"}],"             \
	"\"balloon\":{\"amount_mib\":9,\"stats_polling_interval_s\":2}}"
#define SHOWS "HTTP/1.1 200 \r\nContent-Length: 142\r\n\r\n" CONFIG
static_assert(sizeof CONFIG - 1 == 142, "as SHOWS says");

#define NO_LIMITS "{\"bandwidth\":" OFF ",\"ops\":" OFF "}"

Test(firecracker_undo, the_whole_is_told_of_what_the_vmm_has_not)
{
	static const FaultStep steps[] = { { .says = SHOWS }, { .says = FAULT_204 } };
	Stage stage;

	stage_open(&stage, "exec sleep 1000", steps, array_size(steps));
	stage.job.whole = true;

	cr_assert_eq(update(&stage), 0, "%s", stage.err.what);

	cr_assert_str_eq(
		fault_server_stop(stage.server),
		"GET /vm/config \n"
		"PATCH /drives/a {\"drive_id\":\"a\",\"rate_limiter\":" NO_LIMITS "}\n"
		"PATCH /drives/b "
		"{\"drive_id\":\"b\",\"path_on_host\":\"/4\",\"rate_limiter\":" NO_LIMITS "}\n"
		"PATCH /network-interfaces/e {\"iface_id\":\"e\",\"rx_rate_limiter\":" NO_LIMITS
		",\"tx_rate_limiter\":{\"bandwidth\":" OFF
		",\"ops\":{\"size\":1,\"refill_time\":2}}}\n"
		"PUT /mmds {\"a\":1}\n");
	stage_close(&stage);
}

Test(firecracker_undo, a_whole_that_fails_anywhere_poisons)
{
	enum {
		REQUESTS = 5
	};

	for (size_t at = 0; at < REQUESTS; at++) {
		FaultStep steps[STEPS_MAX];
		Stage stage;

		set_steps(steps, at, (FaultStep){ .says = REFUSES }, FAULT_204);
		if (at > 0)
			steps[0].says = SHOWS;
		stage_open(&stage, "exec sleep 1000", steps, STEPS_MAX);
		stage.job.whole = true;

		cr_assert_eq(update(&stage), -1, "%zu", at);

		cr_assert(stage.job.poisoned);
		stage_close(&stage);
	}
}
