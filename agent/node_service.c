/* SPDX-License-Identifier: Apache-2.0 */

/*
 * NodeService. The node is built on the stream threads and what changes it on
 * threads that may block; pollers only check requests.
 *
 * WatchNode sends at once what changes the node as such (cordons, conditions);
 * changes of VMs move its counts as well, and are told at most once a second.
 */

#include "agent/handlers.h"
#include "agent/node_form.h"
#include "agent/request.h"
#include "base/clock.h"
#include "base/text.h"

enum {
	CHECKS_MAX = 32,
	WATCH_PACE = USEC_PER_SEC, /* between messages that only VMs caused */
};

static void reply_node(Call *call, Runtime *runtime)
{
	cleanup_(node_form_freep) NodeForm *form = node_form_new(agent_of(call), runtime);

	call_reply(call, node_form_message(form));
}

static void get_pump(Call *call, void *user)
{
	reply_node(call, user);
}

static void get_end(void *user)
{
	(void)user; /* the runtime: nobody's to release */
}

static void get_node(Call *call, Runtime *runtime, const Hearth__V1__GetNodeRequest *request)
{
	(void)request;
	call_stream(call, get_pump, get_end, runtime);
}

/* One watcher; only its pump and its end touch it, never both at once. */
typedef struct NodeWatch {
	Watcher watcher;
	Call *call;
	Runtime *runtime;
	bool watching;
	int64_t interval;
	uint64_t version;  /* as last sent */
	uint64_t revision; /* as last sent */
	int64_t sent;      /* monotonic; 0: never */
	LoopSource *timer;
	int64_t due; /* of timer */
} NodeWatch;

static void node_watch_wake(Watcher *watcher)
{
	call_wake(container_of(watcher, NodeWatch, watcher)->call);
}

static void node_watch_end(void *user)
{
	NodeWatch *watch = user;

	if (watch->watching)
		registry_unwatch(runtime_registry(watch->runtime), &watch->watcher);
	loop_remove(agent_of(watch->call)->loop, watch->timer);
	call_unref(watch->call);
	free(watch);
}

/* Has it been so long that the node is to be said again, or for the first time? */
static bool node_watch_is_due(const NodeWatch *watch, int64_t now)
{
	Registry *registry = runtime_registry(watch->runtime);

	if (!watch->sent || registry_node_version(registry) != watch->version)
		return true;
	if (registry_revision(registry) != watch->revision)
		return now - watch->sent >= WATCH_PACE;
	return now - watch->sent >= watch->interval;
}

static void node_watch_arm(NodeWatch *watch, int64_t now)
{
	Registry *registry = runtime_registry(watch->runtime);
	bool changed = registry_revision(registry) != watch->revision;
	int64_t due = watch->sent + (changed ? WATCH_PACE : watch->interval);

	if (watch->timer && watch->due > now && watch->due <= due)
		return;
	loop_remove(agent_of(watch->call)->loop, watch->timer);
	watch->due = due;
	watch->timer = agent_wake_after(watch->call, due > now ? due - now : 1);
}

static void node_watch_pump(Call *call, void *user)
{
	NodeWatch *watch = user;
	Registry *registry = runtime_registry(watch->runtime);
	int64_t now = clock_mono_us();

	if (!watch->watching)
		registry_watch(registry, &watch->watcher);
	watch->watching = true;
	if (!call_writable(call))
		return;
	if (node_watch_is_due(watch, now)) {
		cleanup_(node_form_freep) NodeForm *form = NULL;

		watch->version = registry_node_version(registry);
		watch->revision = registry_revision(registry);
		watch->sent = now;
		form = node_form_new(agent_of(call), watch->runtime);
		call_write(call, node_form_message(form));
	}
	node_watch_arm(watch, now);
}

static void watch_node(Call *call, Runtime *runtime, const Hearth__V1__WatchNodeRequest *request)
{
	Error err = { 0 };
	NodeWatch *watch;
	int64_t interval;

	interval = request_bookmark_interval(request->bookmark_interval, &err);
	if (request_fail(call, NULL, &err))
		return;
	watch = new0(NodeWatch);
	watch->watcher.wake = node_watch_wake;
	watch->call = call_ref(call);
	watch->runtime = runtime;
	watch->interval = interval;
	call_stream(call, node_watch_pump, node_watch_end, watch);
}

/* A change of cordons, or an examination: on its way to a thread that may block. */
typedef struct NodeJob {
	Call *call;
	Runtime *runtime;
	Patience patience;
	bool validate_only;
	char owner[64];
	char reason[REQUEST_REASON_MAX + 1];
} NodeJob;

static void run_job(Call *call, Runtime *runtime, void (*work)(void *user), const NodeJob *job)
{
	NodeJob *copy = new0(NodeJob);

	*copy = *job;
	copy->call = call_ref(call);
	copy->runtime = runtime;
	if (agent_run_blocking(call, runtime, job->patience, work, copy))
		return;
	call_unref(call);
	free(copy);
}

static void finish_job(NodeJob *job, const Error *err)
{
	if (error_is_set(err))
		call_fail(job->call, err);
	else
		reply_node(job->call, job->runtime);
	call_unref(job->call);
	free(job);
}

static void work_cordon(void *user)
{
	NodeJob *job = user;
	Error err = { 0 };

	if (!job->validate_only && runtime_cordon(job->runtime, job->owner, job->reason, &err) == 0)
		error_clear(&err);
	finish_job(job, &err);
}

static void cordon(Call *call, Runtime *runtime, const Hearth__V1__CordonRequest *request)
{
	NodeJob job = { .validate_only = request->validate_only };
	Error err = { 0 };

	request_check_owner(request->owner, &err);
	request_check_reason(request->reason, &err);
	if (request_fail(call, NULL, &err))
		return;
	text_copy(job.owner, sizeof job.owner, request->owner);
	text_copy(job.reason, sizeof job.reason, request->reason);
	run_job(call, runtime, work_cordon, &job);
}

static void work_uncordon(void *user)
{
	NodeJob *job = user;
	Error err = { 0 };

	if (!job->validate_only && runtime_uncordon(job->runtime, job->owner, &err) == 0)
		error_clear(&err);
	finish_job(job, &err);
}

static void uncordon(Call *call, Runtime *runtime, const Hearth__V1__UncordonRequest *request)
{
	NodeJob job = { .validate_only = request->validate_only };
	Error err = { 0 };

	request_check_owner(request->owner, &err);
	if (request_fail(call, NULL, &err))
		return;
	text_copy(job.owner, sizeof job.owner, request->owner);
	run_job(call, runtime, work_uncordon, &job);
}

static void work_doctor(void *user)
{
	NodeJob *job = user;
	cleanup_free DoctorCheck *checks = new0_array(DoctorCheck, CHECKS_MAX);
	Hearth__V1__Check messages[CHECKS_MAX];
	Hearth__V1__Check *refs[CHECKS_MAX];
	Hearth__V1__DoctorResponse response = HEARTH__V1__DOCTOR_RESPONSE__INIT;

	response.n_checks = runtime_doctor(job->runtime, checks, CHECKS_MAX);
	response.checks = refs;
	for (size_t i = 0; i < response.n_checks; i++) {
		hearth__v1__check__init(&messages[i]);
		messages[i].name = checks[i].name;
		messages[i].status = (Hearth__V1__CheckStatus)checks[i].status;
		messages[i].message = checks[i].message;
		messages[i].remedy = checks[i].remedy;
		refs[i] = &messages[i];
	}
	call_reply(job->call, &response.base);
	call_unref(job->call);
	free(job);
}

static void doctor(Call *call, Runtime *runtime, const Hearth__V1__DoctorRequest *request)
{
	(void)request;
	run_job(call, runtime, work_doctor, &(NodeJob){ .patience = PATIENCE_LONG });
}

static DEFINE_HANDLER(NodeService, get_node, GetNode, Node);
static DEFINE_HANDLER(NodeService, watch_node, WatchNode, Node);
static DEFINE_HANDLER(NodeService, cordon, Cordon, Node);
static DEFINE_HANDLER(NodeService, uncordon, Uncordon, Node);
static DEFINE_HANDLER(NodeService, doctor, Doctor, DoctorResponse);

Hearth__V1__NodeService_Service node_service = HEARTH__V1__NODE_SERVICE__INIT(handle_);
