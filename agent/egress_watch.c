/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/handlers.h"
#include "agent/request.h"
#include "agent/wire.h"
#include "base/clock.h"
#include "base/text.h"

#include <string.h>

/* WatchEgress: denied packets, as the runtime's hub has them. */

enum {
	BATCH = 64, /* events in one message, and at one time */
};

/* One watcher; only its pump and its end touch it, never both at once. */
typedef struct EgressWatch {
	EgressWatcher watcher; /* of the hub */
	Watcher changes;       /* of the registry: where one VM is meant, its end is the watch's */
	Call *call;
	Runtime *runtime;
	char vm_id[64], uid[64], tenant[64]; /* empty: all */
	bool watching;
	uint64_t at;
	uint64_t missed; /* and not yet told */
	int64_t interval;
	int64_t sent; /* monotonic */
	LoopSource *timer;
	int64_t due; /* of timer */
} EgressWatch;

static void wake(EgressWatcher *watcher)
{
	call_wake(container_of(watcher, EgressWatch, watcher)->call);
}

static void wake_changed(Watcher *watcher)
{
	call_wake(container_of(watcher, EgressWatch, changes)->call);
}

static void watch_end(void *user)
{
	EgressWatch *watch = user;

	if (watch->watching)
		egress_unwatch(runtime_egress_hub(watch->runtime), &watch->watcher);
	if (watch->watching && watch->uid[0])
		registry_unwatch(runtime_registry(watch->runtime), &watch->changes);
	loop_remove(agent_of(watch->call)->loop, watch->timer);
	call_unref(watch->call);
	free(watch);
}

/* A flow and what its message points to. */
typedef struct FlowForm {
	Hearth__V1__DeniedFlow message;
	Google__Protobuf__Timestamp time;
	char source[NETWORK_ADDRESS_MAX], target[NETWORK_ADDRESS_MAX];
} FlowForm;

static void fill_flow(FlowForm *form, EgressEvent *event)
{
	const NetworkEvent *packet = &event->packet;
	Hearth__V1__DeniedFlow *to = &form->message;

	hearth__v1__denied_flow__init(to);
	wire_time(&form->time, packet->time);
	to->time = &form->time;
	to->vm_id = event->vm_id;
	to->verdict = message_text(network_verdict_name(packet->verdict));
	to->description = message_text(network_verdict_words(packet->verdict));
	to->direction = packet->to_vm ? HEARTH__V1__DIRECTION__DIRECTION_TO_VM
				      : HEARTH__V1__DIRECTION__DIRECTION_FROM_VM;
	to->protocol = packet->protocol;
	to->ethertype = packet->ethertype;
	network_address_text(form->source, &packet->source);
	network_address_text(form->target, &packet->target);
	to->source_address = form->source;
	to->target_address = form->target;
	to->source_port = packet->source_port;
	to->target_port = packet->target_port;
	to->length = packet->length;
	to->suppressed = packet->suppressed;
	to->name = event->packet.name;
}

static bool is_wanted(const EgressWatch *watch, const EgressEvent *event)
{
	return (!watch->uid[0] || strcmp(watch->uid, event->uid) == 0) &&
	       (!watch->tenant[0] || strcmp(watch->tenant, event->tenant) == 0);
}

static void write_flows(EgressWatch *watch, EgressEvent *events, size_t count)
{
	cleanup_free FlowForm *forms = new0_array(FlowForm, count);
	Hearth__V1__DeniedFlow *refs[BATCH];
	Hearth__V1__WatchEgressResponse answer = HEARTH__V1__WATCH_EGRESS_RESPONSE__INIT;

	answer.flows = refs;
	for (size_t i = 0; i < count; i++) {
		if (!is_wanted(watch, &events[i]))
			continue;
		fill_flow(&forms[answer.n_flows], &events[i]);
		refs[answer.n_flows] = &forms[answer.n_flows].message;
		answer.n_flows++;
	}
	answer.missed = watch->missed;
	if (!answer.n_flows && !answer.missed)
		return;
	watch->missed = 0;
	watch->sent = clock_mono_us();
	call_write(watch->call, &answer.base);
}

/* What comes next; false when there is nothing to say now. */
static bool watch_step(EgressWatch *watch)
{
	cleanup_free EgressEvent *events = new0_array(EgressEvent, BATCH);
	uint64_t missed;
	size_t count = egress_hub_read(runtime_egress_hub(watch->runtime), &watch->at, events,
				       BATCH, &missed);

	watch->missed += missed;
	if (count)
		write_flows(watch, events, count);
	return count > 0;
}

static void watch_bookmark(EgressWatch *watch)
{
	Hearth__V1__WatchEgressResponse bookmark = HEARTH__V1__WATCH_EGRESS_RESPONSE__INIT;
	int64_t now = clock_mono_us();

	if (watch->timer && now < watch->due)
		return;
	if (now >= watch->sent + watch->interval) {
		watch->sent = now;
		call_write(watch->call, &bookmark.base);
	}
	loop_remove(agent_of(watch->call)->loop, watch->timer);
	watch->due = watch->sent + watch->interval;
	watch->timer = agent_wake_after(watch->call, watch->due - now);
}

/* Is the one VM that is watched no more? */
static bool has_gone(const EgressWatch *watch)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;

	if (!watch->uid[0])
		return false;
	record = registry_get(runtime_registry(watch->runtime), watch->vm_id);
	return !record || strcmp(record->uid, watch->uid) != 0;
}

static void watch_pump(Call *call, void *user)
{
	EgressWatch *watch = user;

	if (!watch->watching) {
		egress_watch(runtime_egress_hub(watch->runtime), &watch->watcher);
		if (watch->uid[0])
			registry_watch(runtime_registry(watch->runtime), &watch->changes);
		watch->watching = true;
	}
	while (call_writable(call))
		if (!watch_step(watch))
			break;
	if (call_ended(call))
		return;
	if (has_gone(watch))
		call_finish(call);
	else if (call_writable(call))
		watch_bookmark(watch);
}

/* The incarnation that is watched from now on. */
static int find_vm(EgressWatch *watch, const Hearth__V1__WatchEgressRequest *request, Error *err)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;

	if (!*request->vm_id)
		return 0;
	if (runtime_get_vm(watch->runtime, request->vm_id, request->expected_uid, &record, err) < 0)
		return -1;
	text_copy(watch->vm_id, sizeof watch->vm_id, record->vm_id);
	text_copy(watch->uid, sizeof watch->uid, record->uid);
	return 0;
}

static void watch_egress(Call *call, Runtime *runtime,
			 const Hearth__V1__WatchEgressRequest *request)
{
	cleanup_free EgressWatch *watch = new0(EgressWatch);
	Error err = { 0 };

	watch->runtime = runtime;
	if (*request->vm_id)
		request_check_vm_id(request->vm_id, &err);
	if (!*request->vm_id && *request->expected_uid)
		(void)error_add_violation(&err, "expected_uid", "needs vm_id");
	request_check_tenant(request->tenant, &err);
	watch->interval = request_bookmark_interval(request->bookmark_interval, &err);
	if (request_fail(call, request->vm_id, &err))
		return;
	if (find_vm(watch, request, &err) < 0) {
		call_fail(call, &err);
		return;
	}
	text_copy(watch->tenant, sizeof watch->tenant, request->tenant);
	watch->watcher.wake = wake;
	watch->changes.wake = wake_changed;
	watch->at = egress_hub_latest(runtime_egress_hub(runtime));
	watch->sent = clock_mono_us();
	watch->call = call_ref(call);
	call_stream(call, watch_pump, watch_end, take_ptr(watch));
}

DEFINE_HANDLER(EgressService, watch_egress, WatchEgress, WatchEgressResponse);
