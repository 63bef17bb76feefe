/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/ctl.h"
#include "agent/ctl/format.h"
#include "agent/ctl/json.h"
#include "agent/ctl/request.h"
#include "agent/ctl/table.h"

#include <string.h>

/* snapshot create, list, watch, get, flatten, verify and delete. */

static void print_snapshot(const Hearth__V1__Snapshot *snapshot)
{
	char name[40], text[FORMAT_MAX];

	print_field("Snapshot:", "%s of %s", snapshot->snapshot_id, snapshot->vm_id);
	print_field("State:", "%s",
		    enum_text(&hearth__v1__snapshot_state__descriptor, (int)snapshot->state, name));
	if (snapshot->problem)
		print_field("Problem:", "%s", snapshot->problem->message);
	print_field("Laid over:", "%s", snapshot->parent_snapshot_id);
	print_field("Tenant:", "%s", snapshot->tenant);
	if (snapshot->create_time)
		print_field("Created:", "%s", format_time(snapshot->create_time, text));
	if (*snapshot->vmm_version)
		print_field(
			"VMM:", "%s %s, %s",
			enum_text(&hearth__v1__backend__descriptor, (int)snapshot->backend, name),
			snapshot->vmm_version, snapshot->accelerator);
	print_field("CPU:", "%s", snapshot->cpu_model);
	print_field("Kernel:", "%s", snapshot->kernel);
	print_field("Size:", "%s", format_bytes(snapshot->size_bytes, text));
	print_field("On disk:", "%s", format_bytes(snapshot->allocated_bytes, text));
	print_field("Used by:", "%u VM%s", snapshot->users, snapshot->users == 1 ? "" : "s");
	for (size_t i = 0; i < snapshot->n_labels; i++)
		print_field(i ? "" : "Labels:", "%s=%s", snapshot->labels[i]->key,
			    snapshot->labels[i]->value);
	for (size_t i = 0; i < snapshot->n_files; i++)
		print_field(i ? "" : "Files:", "%s %s %s", snapshot->files[i]->name,
			    format_bytes(snapshot->files[i]->size_bytes, text),
			    snapshot->files[i]->sha256);
}

static void show(const Ctl *ctl, const Hearth__V1__Snapshot *snapshot)
{
	if (ctl_json(ctl))
		json_print_message(&snapshot->base, true);
	else if (ctl->format == OUTPUT_NAME)
		print_clean(stdout, "%s/%s\n", snapshot->vm_id, snapshot->snapshot_id);
	else
		print_snapshot(snapshot);
}

/* A call that answers a snapshot, shown. */
static int call(Ctl *ctl, const char *method, const ProtobufCMessage *request)
{
	cleanup_(message_freep) Hearth__V1__Snapshot *snapshot = NULL;
	int status = ctl_call_long(ctl, snapshot_method(method), request, &snapshot);

	if (status == 0)
		show(ctl, snapshot);
	return status;
}

int run_snapshot_create(Ctl *ctl)
{
	const Options *given = &ctl->options;
	Hearth__V1__CreateSnapshotRequest *request =
		message_new(&hearth__v1__create_snapshot_request__descriptor);
	const char *text;
	size_t at = 0;
	int status = 0;

	set_text(&request->vm_id, given->arguments[0]);
	set_text(&request->snapshot_id, given->arguments[1]);
	set_text(&request->expected_uid, options_text(given, "expected-uid"));
	request->expected_revision = options_number(given, "expected-revision", 0);
	request->expected_generation = options_number(given, "expected-generation", 0);
	request->validate_only = options_has(given, "validate-only");
	set_text(&request->parent_snapshot_id, options_text(given, "parent"));
	request->then = (Hearth__V1__SnapshotThen)options_enum(given, "then", 0);
	request->return_when = (Hearth__V1__ReturnWhen)options_enum(given, "return", 0);
	while (status == 0 && (text = options_next(given, "label", &at)))
		if (!set_variable(&request->labels, &request->n_labels,
				  &hearth__v1__create_snapshot_request__labels_entry__descriptor,
				  text))
			status = failure_report_local(ctl_json(ctl), EXIT_USAGE,
						      "--label: '%s' is not KEY=VALUE", text);
	if (status == 0)
		status = call(ctl, "CreateSnapshot", &request->base);
	message_free(request);
	return status;
}

int run_snapshot_get(Ctl *ctl)
{
	Hearth__V1__GetSnapshotRequest request;

	hearth__v1__get_snapshot_request__init(&request);
	request.vm_id = text_field(ctl->options.arguments[0]);
	request.snapshot_id = text_field(ctl->options.arguments[1]);
	return call(ctl, "GetSnapshot", &request.base);
}

int run_snapshot_verify(Ctl *ctl)
{
	Hearth__V1__VerifySnapshotRequest request;

	hearth__v1__verify_snapshot_request__init(&request);
	request.vm_id = text_field(ctl->options.arguments[0]);
	request.snapshot_id = text_field(ctl->options.arguments[1]);
	request.if_changed = options_has(&ctl->options, "if-changed");
	return call(ctl, "VerifySnapshot", &request.base);
}

int run_snapshot_flatten(Ctl *ctl)
{
	Hearth__V1__FlattenSnapshotRequest request;

	hearth__v1__flatten_snapshot_request__init(&request);
	request.vm_id = text_field(ctl->options.arguments[0]);
	request.snapshot_id = text_field(ctl->options.arguments[1]);
	return call(ctl, "FlattenSnapshot", &request.base);
}

int run_snapshot_delete(Ctl *ctl)
{
	cleanup_(message_freep) Hearth__V1__DeleteSnapshotResponse *answer = NULL;
	Hearth__V1__DeleteSnapshotRequest request;
	int status;

	hearth__v1__delete_snapshot_request__init(&request);
	request.vm_id = text_field(ctl->options.arguments[0]);
	request.snapshot_id = text_field(ctl->options.arguments[1]);
	request.allow_missing = options_has(&ctl->options, "allow-missing");
	status = ctl_call(ctl, snapshot_method("DeleteSnapshot"), &request.base, &answer);
	if (status == 0 && !ctl_json(ctl))
		print_clean(stdout, "%s/%s deleted\n", request.vm_id, request.snapshot_id);
	return status;
}

static const Column columns[] = {
	{ "VM", false },    { "SNAPSHOT", false },
	{ "STATE", false }, { "AGE", false },
	{ "SIZE", false },  { "ON-DISK", false },
	{ "USED", false },  { "BACKEND", true },
	{ "TENANT", true }, { 0 },
};

static void add_row(Table *table, const Hearth__V1__Snapshot *snapshot)
{
	char name[40], text[FORMAT_MAX];

	table_cell(table, "%s", snapshot->vm_id);
	table_cell(table, "%s", snapshot->snapshot_id);
	table_cell(table, "%s",
		   enum_text(&hearth__v1__snapshot_state__descriptor, (int)snapshot->state, name));
	table_cell(table, "%s", format_age(snapshot->create_time, text));
	table_cell(table, "%s", format_bytes(snapshot->size_bytes, text));
	table_cell(table, "%s", format_bytes(snapshot->allocated_bytes, text));
	table_cell(table, "%u", snapshot->users);
	table_cell(table, "%s",
		   enum_text(&hearth__v1__backend__descriptor, (int)snapshot->backend, name));
	table_cell(table, "%s", snapshot->tenant);
}

int run_snapshot_list(Ctl *ctl)
{
	cleanup_(message_freep) Hearth__V1__ListSnapshotsResponse *answer = NULL;
	cleanup_(table_freep) Table *table = table_new(columns, ctl->format == OUTPUT_WIDE);
	Hearth__V1__ListSnapshotsRequest request;
	int status;

	hearth__v1__list_snapshots_request__init(&request);
	if (ctl->options.n_arguments)
		request.vm_id = text_field(ctl->options.arguments[0]);
	request.tenant = text_field(options_text(&ctl->options, "tenant"));
	status = ctl_call(ctl, snapshot_method("ListSnapshots"), &request.base, &answer);
	if (status)
		return status;
	if (ctl_json(ctl)) {
		json_print_message(&answer->base, true);
		return 0;
	}
	for (size_t i = 0; i < answer->n_snapshots; i++) {
		if (ctl->format == OUTPUT_NAME)
			show(ctl, answer->snapshots[i]);
		else
			add_row(table, answer->snapshots[i]);
	}
	if (ctl->format != OUTPUT_NAME)
		table_flush(table, stdout);
	return 0;
}

static const Column watch_columns[] = {
	{ "EVENT", false },
	{ "VM", false },
	{ "SNAPSHOT", false },
	{ "STATE", false },
	{ "READ", false },
	{ "USED", false },
	{ 0 },
};

static void add_event(Table *table, const Hearth__V1__SnapshotEvent *event)
{
	const Hearth__V1__Snapshot *snapshot = event->snapshot;
	char name[40];

	table_cell(table, "%s",
		   enum_text(&hearth__v1__event_type__descriptor, (int)event->type, name));
	table_cell(table, "%s", snapshot->vm_id);
	table_cell(table, "%s", snapshot->snapshot_id);
	table_cell(table, "%s",
		   snapshot->state ? enum_text(&hearth__v1__snapshot_state__descriptor,
					       (int)snapshot->state, name)
				   : "");
	if (snapshot->total_bytes)
		table_cell(table, "%u%%",
			   (unsigned)(100.0 * (double)snapshot->done_bytes /
				      (double)snapshot->total_bytes));
	else
		table_cell(table, "%s", "");
	table_cell(table, "%u", snapshot->users);
}

static void show_events(const Ctl *ctl, Table *table,
			const Hearth__V1__WatchSnapshotsResponse *answer)
{
	for (size_t i = 0; i < answer->n_events; i++) {
		if (ctl_json(ctl))
			json_print_message(&answer->events[i]->base, false);
		else if (ctl->format == OUTPUT_NAME)
			show(ctl, answer->events[i]->snapshot);
		else
			add_event(table, answer->events[i]);
	}
	if (!ctl_json(ctl) && ctl->format != OUTPUT_NAME)
		table_flush(table, stdout);
	(void)fflush(stdout);
}

int run_snapshot_watch(Ctl *ctl)
{
	cleanup_(table_freep) Table *table = table_new(watch_columns, ctl->format == OUTPUT_WIDE);
	cleanup_(failure_release) Failure failure = { 0 };
	cleanup_(client_stream_freep) ClientStream *stream = NULL;
	Hearth__V1__WatchSnapshotsResponse *answer = NULL;
	Hearth__V1__WatchSnapshotsRequest request;
	int got;

	hearth__v1__watch_snapshots_request__init(&request);
	if (ctl->options.n_arguments)
		request.vm_id = text_field(ctl->options.arguments[0]);
	request.tenant = text_field(options_text(&ctl->options, "tenant"));
	table_widen(table, "EVENT", strlen("modified"));
	table_widen(table, "VM", 12);
	table_widen(table, "SNAPSHOT", 12);
	table_widen(table, "STATE", strlen("creating"));
	stream = client_stream(ctl_client(ctl), snapshot_method("WatchSnapshots"), &request.base,
			       ctl_timeout(ctl, CLIENT_FOREVER));
	while ((got = client_stream_next(stream, &answer, &failure)) > 0) {
		show_events(ctl, table, answer);
		message_free(take_ptr(answer));
	}
	if (failure.interrupted)
		return EXIT_RPC + failure.code;
	return got < 0 ? failure_report(&failure, ctl_json(ctl)) : 0;
}
