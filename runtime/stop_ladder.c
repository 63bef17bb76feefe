/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/stop_ladder.h"

#include "base/process.h"
#include "base/text.h"
#include "runtime/guest_ask.h"
#include "runtime/vmm_process.h"

#include <poll.h>
#include <signal.h>
#include <string.h>

enum {
	GUEST_PATIENCE = 5 * USEC_PER_SEC /* for its answer, before it ends */
};

typedef struct Rung {
	const char *name;
	RungAskFn *ask;
	const char *useless; /* why it is not tried; NULL: it is */
	bool is_last;
} Rung;

RungOutcome stop_ladder_failed(Climb *climb, const Error *err)
{
	text_copy(climb->why, sizeof climb->why, err->what);
	return RUNG_FAILED;
}

static RungOutcome send_signal(Climb *climb, int signal)
{
	int r = process_signal(climb->vmm, signal);

	/* Ended already: the wait will see it. */
	if (r == 0 || r == -ESRCH)
		return RUNG_UNSET;
	text_copy(climb->why, sizeof climb->why, strerrordesc_np(-r));
	return RUNG_FAILED;
}

static RungOutcome ask_guest(Climb *climb, int64_t timeout)
{
	const GuestQuery query = {
		.op = climb->guest_op,
		.members = json_object(),
		.timeout = timeout < GUEST_PATIENCE ? timeout : GUEST_PATIENCE,
		.cancel_fd = climb->job->cancel_fd,
		.vmm = climb->vmm,
	};
	Error err = { 0 };

	return guest_ask(climb->job->guest, &query, &err) < 0 ? stop_ladder_failed(climb, &err)
							      : RUNG_UNSET;
}

static RungOutcome ask_terminate(Climb *climb, int64_t timeout)
{
	(void)timeout;
	return send_signal(climb, SIGTERM);
}

static RungOutcome ask_kill(Climb *climb, int64_t timeout)
{
	(void)timeout;
	return send_signal(climb, SIGKILL);
}

/* Waits for the VMM's end: 0, -ETIMEDOUT, or -ECANCELED. */
static int wait_end(int vmm, int cancel_fd, int64_t deadline)
{
	struct pollfd fds[] = {
		{ .fd = vmm, .events = POLLIN },
		{ .fd = cancel_fd, .events = POLLIN },
	};

	for (;;) {
		int64_t left = deadline - clock_mono_us();
		struct timespec wait = {
			.tv_sec = left > 0 ? left / USEC_PER_SEC : 0,
			.tv_nsec = left > 0 ? left % USEC_PER_SEC * 1000 : 0,
		};
		int n = ppoll(fds, array_size(fds), &wait, NULL);

		if (n > 0 && fds[0].revents)
			return 0;
		if (n > 0)
			return -ECANCELED;
		if (n == 0 && left <= 0)
			return -ETIMEDOUT;
	}
}

static RungOutcome try_rung(Climb *climb, const Rung *rung, int64_t timeout)
{
	int cancel_fd = rung->is_last ? -1 : climb->job->cancel_fd;
	int64_t deadline = clock_mono_us() + timeout;
	RungOutcome outcome;
	int r;

	if (!rung->is_last && timeout < 0) {
		text_copy(climb->why, sizeof climb->why, "not asked for");
		return RUNG_SKIPPED;
	}
	if (rung->useless) {
		(void)snprintf(climb->why, sizeof climb->why, "not applicable: %s", rung->useless);
		return RUNG_SKIPPED;
	}
	if (!rung->is_last && job_cancelled(climb->job)) {
		text_copy(climb->why, sizeof climb->why, "the stop is in a hurry");
		return RUNG_SKIPPED;
	}
	job_step(climb->job, rung->name);
	outcome = rung->ask(climb, timeout);
	/* It may have ended while it was asked. */
	if (outcome != RUNG_UNSET)
		return wait_end(climb->vmm, -1, 0) == 0 ? RUNG_ENDED : outcome;
	r = wait_end(climb->vmm, cancel_fd, deadline);
	if (r == -ECANCELED)
		text_copy(climb->why, sizeof climb->why, "cut short: the stop is in a hurry");
	return r == 0 ? RUNG_ENDED : RUNG_TIMED_OUT;
}

static RungOutcome climb_rung(Climb *climb, const Rung *rung, int64_t timeout)
{
	int64_t start = clock_wall_us();
	RungOutcome outcome;
	VmRung *record;

	climb->why[0] = '\0';
	outcome = try_rung(climb, rung, timeout);
	record = field_list_add(&climb->job->rungs, &vm_rung_table);
	record->name = text_dup(rung->name);
	record->outcome = outcome;
	if (outcome != RUNG_ENDED && climb->why[0])
		record->message = text_dup(climb->why);
	record->start_time = start;
	record->end_time = clock_wall_after(start);
	return outcome;
}

static int climb_all(Climb *climb, const StopLadder *ladder, const char *name,
		     const FirstRung *first, Error *err)
{
	const Rung rungs[] = {
		{ .name = "guest", .ask = ask_guest },
		{ .name = first->name, .ask = first->ask },
		{ .name = "terminate", .ask = ask_terminate, .useless = first->deaf },
		{ .name = "kill", .ask = ask_kill, .is_last = true },
	};
	const int64_t timeouts[array_size(rungs)] = {
		ladder->guest_timeout,
		ladder->power_button_timeout,
		ladder->terminate_timeout,
		VMM_KILL_TIMEOUT,
	};

	for (size_t i = climb->job->guest ? 0 : 1; i < array_size(rungs); i++)
		if (climb_rung(climb, &rungs[i], timeouts[i]) == RUNG_ENDED)
			return 0;
	return error_set(err, ERROR_SHUTDOWN, "%s, pid %d, did not end by SIGKILL%s%s", name,
			 (int)climb->pid, climb->why[0] ? ": " : "", climb->why);
}

/* The keeper records the end and ends itself; one that hangs is ended. */
static int end_keeper(const Job *job, int keeper, Error *err)
{
	int r;

	if (keeper < 0 || process_wait(keeper, clock_mono_us() + VMM_KILL_TIMEOUT) == 0)
		return 0;
	r = keeper_kill(job->run_dir, VMM_KILL_TIMEOUT);
	return r < 0 ? error_set_errno(err, ERROR_SHUTDOWN, -r, "end the keeper of %s",
				       job->run_dir)
		     : 0;
}

int stop_ladder_climb(Job *job, const StopLadder *ladder, const char *name, const FirstRung *first,
		      Error *err)
{
	cleanup_close int keeper = -1, vmm = -1;
	Climb climb = { .job = job, .guest_op = first->guest_op };
	KeeperState state;
	int r = keeper_load(&state, job->run_dir);

	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = keeper_open(&keeper, &state);
	if (r == 0 || r == -ESRCH)
		r = keeper_open_vmm(&vmm, &state);
	if (r < 0 && r != -ESRCH)
		return error_set_errno(err, ERROR_SHUTDOWN, -r, "find the processes of %s",
				       job->run_dir);
	climb.vmm = vmm;
	climb.pid = state.vmm.pid;
	if (vmm >= 0 && climb_all(&climb, ladder, name, first, err) < 0)
		return -1;
	return end_keeper(job, keeper, err);
}
