/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/progress.h"

#include "agent/ctl/format.h"
#include "agent/ctl/request.h"
#include "base/clock.h"

#include <string.h>

enum {
	FIRST_AFTER = 300 * USEC_PER_MSEC, /* what is quicker needs no line */
	EVERY = 200 * USEC_PER_MSEC,
	ASK_TIMEOUT = USEC_PER_SEC,
};

/* What keeps the VM from being ready, in a word; "" where nothing says. */
static const char *unready_reason(const Hearth__V1__VmStatus *status)
{
	for (size_t i = 0; i < status->n_conditions; i++)
		if (strcmp(status->conditions[i]->type, "Ready") == 0)
			return status->conditions[i]->reason;
	return "";
}

static void show(Progress *progress, const Hearth__V1__VmStatus *status)
{
	const Hearth__V1__Operation *operation = status ? status->operation : NULL;
	const char *reason = status ? unready_reason(status) : "";
	char elapsed[FORMAT_MAX];

	(void)format_span(clock_mono_us() - progress->began, elapsed);
	/* Carriage return, then erase to the end of the line. */
	(void)fputs("\r\033[K", stderr);
	if (operation)
		print_clean(stderr, "%s: %s, %s  %s", progress->vm_id, operation->verb,
			    *operation->stage ? operation->stage : "begun", elapsed);
	else
		print_clean(stderr, "%s: %s%s%s  %s", progress->vm_id, progress->verb,
			    *reason ? ", " : "", reason, elapsed);
	(void)fflush(stderr);
	progress->shown = true;
}

static void tick(void *user)
{
	Progress *progress = user;
	Hearth__V1__GetVmRequest request;
	cleanup_(failure_release) Failure failure = { 0 };
	cleanup_(message_freep) Hearth__V1__Vm *vm = NULL;
	int64_t now = clock_mono_us();

	hearth__v1__get_vm_request__init(&request);
	if (now - progress->began < FIRST_AFTER || now - progress->asked < EVERY)
		return;
	progress->asked = now;
	request.vm_id = text_field(progress->vm_id);
	if (client_call(progress->ctl->client, vm_method("GetVm"), &request.base, ASK_TIMEOUT, &vm,
			&failure) < 0)
		vm = NULL; /* shown without its stage */
	show(progress, vm ? vm->status : NULL);
}

void progress_begin(Progress *progress, Ctl *ctl, const char *vm_id, const char *verb)
{
	*progress = (Progress){ .ctl = ctl, .vm_id = vm_id, .verb = verb };
	if (!isatty(STDERR_FILENO))
		return;
	progress->active = true;
	progress->began = clock_mono_us();
	client_set_tick(ctl_client(ctl), tick, progress);
}

void progress_end(Progress *progress)
{
	if (!progress->active)
		return;
	client_set_tick(progress->ctl->client, NULL, NULL);
	if (progress->shown)
		(void)fputs("\r\033[K", stderr);
	progress->active = false;
}
