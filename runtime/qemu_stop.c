/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/qemu_internal.h"
#include "runtime/stop_ladder.h"
#include "runtime/vm_taps.h"

#include <string.h>

static RungOutcome ask_power_button(Climb *climb, int64_t timeout)
{
	int64_t patience = timeout < QEMU_COMMAND_TIMEOUT ? timeout : QEMU_COMMAND_TIMEOUT;
	cleanup_(qmp_closep) Qmp *qmp = NULL;
	cleanup_free char *status = NULL;
	Error err = { 0 };

	if (qemu_connect(&qmp, climb->job, climb->vmm, climb->job->cancel_fd, patience, &err) < 0 ||
	    qmp_status(qmp, &status, &err) < 0)
		return stop_ladder_failed(climb, &err);
	if (strcmp(status, "running") != 0) {
		(void)snprintf(climb->why, sizeof climb->why,
			       "the guest is %s and cannot notice its power button", status);
		return RUNG_SKIPPED;
	}
	return qmp_execute(qmp, "system_powerdown", NULL, &err) < 0
		       ? stop_ladder_failed(climb, &err)
		       : RUNG_UNSET;
}

int qemu_stop(Backend *backend, Job *job, const StopLadder *ladder, Error *err)
{
	static const FirstRung first = { "power_button", ask_power_button, NULL, "shutdown" };

	if (stop_ladder_climb(job, ladder, "qemu", &first, err) < 0)
		return -1;
	return qemu_clear(container_of(backend, Qemu, backend), job->resolved->instance_id, err);
}

int qemu_clear(const Qemu *qemu, const char *instance_id, Error *err)
{
	if (launcher_end_group(qemu->config.launcher, instance_id, err) < 0)
		return -1;
	return vm_taps_remove(qemu->backend.network, instance_id, err);
}
