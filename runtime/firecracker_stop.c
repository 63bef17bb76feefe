/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/firecracker_boot.h"
#include "runtime/firecracker_internal.h"
#include "runtime/stop_ladder.h"

#include <string.h>

static int press(FirecrackerApi *api, Error *err)
{
	json_t *body = firecracker_action_new("SendCtrlAltDel");
	const FirecrackerCall call = { FIRECRACKER_ACT, "PUT", "/actions", body };
	int r = firecracker_api_call(api, &call, NULL, err);

	json_decref(body);
	return r;
}

static RungOutcome ask_ctrl_alt_del(Climb *climb, int64_t timeout)
{
	/* 0 would mean the request's own. */
	int64_t patience = timeout > 0 ? timeout : 1;
	cleanup_(firecracker_api_closep) FirecrackerApi *api = NULL;
	FirecrackerInfo info = { 0 };
	Error err = { 0 };

	if (firecracker_connect(&api, climb->job, climb->vmm, climb->job->cancel_fd, patience,
				&err) < 0 ||
	    firecracker_api_info(api, &info, &err) < 0)
		return stop_ladder_failed(climb, &err);
	if (strcmp(info.state, "Running") != 0) {
		(void)snprintf(climb->why, sizeof climb->why,
			       "the guest is '%s' and cannot notice Ctrl-Alt-Del", info.state);
		return RUNG_SKIPPED;
	}
	return press(api, &err) < 0 ? stop_ladder_failed(climb, &err) : RUNG_UNSET;
}

int firecracker_stop(Backend *backend, Job *job, const StopLadder *ladder, Error *err)
{
	const Firecracker *firecracker = container_of(backend, Firecracker, backend);
	const FirstRung first = {
		.name = "ctrl_alt_del",
		.ask = ask_ctrl_alt_del,
		.deaf = text_equal(job->resolved->jail_path, "")
				? NULL
				: "init of a pid namespace ignores SIGTERM",
		/* It has no power to switch off: it ends when its guest resets. */
		.guest_op = "reboot",
	};

	if (stop_ladder_climb(job, ladder, "firecracker", &first, err) < 0)
		return -1;
	return firecracker_clear(firecracker, job->resolved->instance_id, err);
}
