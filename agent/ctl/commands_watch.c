/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/ctl.h"
#include "agent/ctl/format.h"
#include "agent/ctl/json.h"
#include "agent/ctl/request.h"
#include "agent/ctl/vm_view.h"
#include "base/text.h"

#include <inttypes.h>
#include <string.h>

/* list and watch. */

enum {
	LIST_PAGE = 500,
	STATES_MAX = 16
};

static const Column watch_columns[] = {
	{ "TIME", false },     { "EVENT", false },
	{ "VM", false },       { "STATE", false },
	{ "REVISION", true },  { "REASON", false },
	{ "BY", true },        { "MESSAGE", false },
	{ "OPERATION", true }, { 0 },
};

/* Where a watch has come to, so that it can go on from there. */
typedef struct Position {
	char *store_id;
	uint64_t revision;
} Position;

static void position_release(Position *position)
{
	free(position->store_id);
}

static void position_move(Position *position, const char *store_id, uint64_t revision)
{
	if (!text_equal(position->store_id, store_id)) {
		free(position->store_id);
		position->store_id = text_dup(store_id);
	}
	if (revision)
		position->revision = revision;
}

/* Shows one change: in a list's columns, or a watch's. */
typedef struct Viewer {
	const Ctl *ctl;
	Table *table;
	bool as_list;
} Viewer;

static void watch_row(Table *table, const Hearth__V1__VmEvent *event)
{
	char text[FORMAT_MAX];
	char name[40];

	table_cell(table, "%s", format_time(event->time, text));
	table_cell(table, "%s",
		   enum_text(&hearth__v1__event_type__descriptor, (int)event->type, name));
	table_cell(table, "%s", event->vm ? event->vm->vm_id : event->vm_id);
	table_cell(table, "%s", event->vm ? vm_state_text(event->vm, name) : "");
	table_cell(table, "%" PRIu64, event->revision);
	table_cell(table, "%s", event->reason);
	table_cell(table, "%s", event->principal);
	table_cell(table, "%s", event->message);
	table_cell(table, "%s", event->operation_id);
}

static void view_event(const Viewer *viewer, const Hearth__V1__VmEvent *event)
{
	if (ctl_json(viewer->ctl)) {
		json_print_message(&event->base, false);
	} else if (viewer->ctl->format == OUTPUT_NAME) {
		print_clean(stdout, "%s\n", event->vm ? event->vm->vm_id : event->vm_id);
	} else if (!viewer->as_list) {
		watch_row(viewer->table, event);
	} else if (event->vm) {
		vm_row(viewer->table, event->vm);
	}
}

/* What has been said so far, seen at once. */
static void view_flush(const Viewer *viewer)
{
	if (viewer->ctl->format == OUTPUT_TABLE || viewer->ctl->format == OUTPUT_WIDE)
		table_flush(viewer->table, stdout);
	else
		(void)fflush(stdout);
}

/* Follows until the stream ends: never 0, because a watch has no end of its own. */
static int follow(Ctl *ctl, const Hearth__V1__WatchVmsRequest *request, const Viewer *viewer,
		  Position *position, Failure *failure)
{
	cleanup_(client_stream_freep) ClientStream *stream =
		client_stream(ctl_client(ctl), vm_method("WatchVms"), &request->base,
			      ctl_timeout(ctl, CLIENT_FOREVER));
	Hearth__V1__WatchVmsResponse *answer = NULL;
	int got;

	while ((got = client_stream_next(stream, &answer, failure)) > 0) {
		for (size_t i = 0; i < answer->n_events; i++)
			view_event(viewer, answer->events[i]);
		if (answer->n_events)
			view_flush(viewer);
		position_move(position, answer->store_id, answer->revision);
		message_free(take_ptr(answer));
	}
	return got;
}

/* Room for what is likely to come. */
static void widen(Table *table)
{
	table_widen(table, "TIME", strlen("2026-11-23 16:00:00.000"));
	table_widen(table, "VM", 12);
	table_widen(table, "EVENT", strlen("modified"));
	table_widen(table, "STATE", strlen("destroying"));
	table_widen(table, "REVISION", 8);
	table_widen(table, "REASON", strlen("DestroyAccepted"));
}

static void fill_watch(const Ctl *ctl, Hearth__V1__WatchVmsRequest *request)
{
	request->label_selector = text_field(options_text(&ctl->options, "selector"));
	request->tenant = text_field(options_text(&ctl->options, "tenant"));
}

/* Follows, and when this side was too slow, goes on from where it came to. */
static int follow_on(Ctl *ctl, Hearth__V1__WatchVmsRequest *request, const Viewer *viewer,
		     Position *position)
{
	for (;;) {
		cleanup_(failure_release) Failure failure = { 0 };

		if (follow(ctl, request, viewer, position, &failure) == 0)
			return 0;
		if (failure.interrupted)
			return EXIT_RPC + failure.code;
		if (!failure_is(&failure, "WATCH_SLOW") || !position->revision)
			return failure_report(&failure, ctl_json(ctl));
		request->send_initial = false;
		request->store_id = text_field(position->store_id);
		request->from_revision = position->revision;
	}
}

int run_watch(Ctl *ctl)
{
	const Options *given = &ctl->options;
	Hearth__V1__WatchVmsRequest request;
	cleanup_(table_freep) Table *table = table_new(watch_columns, ctl->format == OUTPUT_WIDE);
	cleanup_(position_release) Position position = { 0 };
	const Viewer viewer = { ctl, table, false };

	hearth__v1__watch_vms_request__init(&request);
	widen(table);
	fill_watch(ctl, &request);
	request.send_initial = options_has(given, "initial");
	request.from_revision = options_number(given, "from-revision", 0);
	request.store_id = text_field(options_text(given, "store-id"));
	request.vm_ids = text_list_field(given->arguments);
	request.n_vm_ids = given->n_arguments;
	if (options_has(given, "from-revision") != options_has(given, "store-id"))
		return failure_report_local(ctl_json(ctl), EXIT_USAGE,
					    "watch: --from-revision and --store-id go together");
	return follow_on(ctl, &request, &viewer, &position);
}

/* One page's VMs to the screen, or to @vms for JSON as a whole. */
static void view_page(const Viewer *viewer, Hearth__V1__ListVmsResponse *page, json_t *vms)
{
	for (size_t i = 0; i < page->n_vms; i++) {
		Hearth__V1__VmEvent event;

		hearth__v1__vm_event__init(&event);
		event.type = HEARTH__V1__EVENT_TYPE__EVENT_TYPE_INITIAL;
		event.revision = page->vms[i]->revision;
		event.vm = page->vms[i];
		if (vms)
			(void)json_array_append_new(vms, json_from_message(&page->vms[i]->base));
		else
			view_event(viewer, &event);
	}
}

/* Every page: 0, or the exit status. */
static int list_all(Ctl *ctl, const Viewer *viewer, json_t *vms, Position *position)
{
	const Options *given = &ctl->options;
	Hearth__V1__ListVmsRequest request;
	Hearth__V1__VmState states[STATES_MAX];
	int values[STATES_MAX];
	cleanup_free char *token = NULL;

	hearth__v1__list_vms_request__init(&request);
	request.label_selector = text_field(options_text(given, "selector"));
	request.tenant = text_field(options_text(given, "tenant"));
	request.n_states = options_enums(given, "state", values, STATES_MAX);
	for (size_t i = 0; i < request.n_states; i++)
		states[i] = (Hearth__V1__VmState)values[i];
	request.states = states;
	request.page_size = LIST_PAGE;
	do {
		cleanup_(message_freep) Hearth__V1__ListVmsResponse *page = NULL;
		int status;

		request.page_token = text_field(token);
		status = ctl_call(ctl, vm_method("ListVms"), &request.base, &page);
		if (status)
			return status;
		position_move(position, page->store_id, page->revision);
		view_page(viewer, page, vms);
		free(token);
		token = text_dup(page->next_page_token);
	} while (*token);
	return 0;
}

static void print_whole(json_t *vms, const Position *position)
{
	cleanup_(json_freep) json_t *whole = json_object();
	char revision[24];

	(void)text_append(revision, revision + sizeof revision, "%" PRIu64, position->revision);
	(void)json_object_set(whole, "vms", vms);
	(void)json_object_set_new(whole, "revision", json_string(revision));
	(void)json_object_set_new(whole, "storeId", json_string(position->store_id));
	json_print(stdout, whole, true);
}

int run_list(Ctl *ctl)
{
	bool watches = options_has(&ctl->options, "watch");
	bool whole = ctl_json(ctl) && !watches;
	cleanup_(table_freep) Table *table = table_new(vm_columns, ctl->format == OUTPUT_WIDE);
	cleanup_(json_freep) json_t *vms = whole ? json_array() : NULL;
	cleanup_(position_release) Position position = { 0 };
	const Viewer viewer = { ctl, table, true };
	Hearth__V1__WatchVmsRequest request;
	int status;

	hearth__v1__watch_vms_request__init(&request);
	if (watches && options_has(&ctl->options, "state"))
		return failure_report_local(
			ctl_json(ctl), EXIT_USAGE,
			"list: --watch follows VMs through every state; leave out "
			"--state");
	if (watches)
		widen(table);
	status = list_all(ctl, &viewer, vms, &position);
	if (status)
		return status;
	if (whole)
		print_whole(vms, &position);
	else
		view_flush(&viewer);
	if (!watches)
		return 0;
	fill_watch(ctl, &request);
	request.store_id = text_field(position.store_id);
	request.from_revision = position.revision;
	return follow_on(ctl, &request, &viewer, &position);
}
