/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/ctl.h"
#include "agent/ctl/egress_view.h"
#include "agent/ctl/format.h"
#include "agent/ctl/json.h"
#include "agent/ctl/request.h"
#include "agent/ctl/vm_view.h"
#include "base/text.h"

#include <inttypes.h>
#include <string.h>

/* get, describe, wait, events, console, metrics. */

enum {
	EVENTS_PAGE = 1000,
	STATES_MAX = 16,
	DESCRIBED_EVENTS = 10
};

static int get_vm(Ctl *ctl, const char *id, Hearth__V1__Vm **ret)
{
	Hearth__V1__GetVmRequest request;

	hearth__v1__get_vm_request__init(&request);
	request.vm_id = text_field(id);
	request.expected_uid = text_field(options_text(&ctl->options, "expected-uid"));
	return ctl_call(ctl, vm_method("GetVm"), &request.base, ret);
}

int run_get(Ctl *ctl)
{
	bool is_table = ctl->format == OUTPUT_TABLE || ctl->format == OUTPUT_WIDE;
	cleanup_(table_freep) Table *table = table_new(vm_columns, ctl->format == OUTPUT_WIDE);
	size_t found = 0;
	int status = 0;

	for (size_t i = 0; i < ctl->options.n_arguments && !client_interrupted(); i++) {
		cleanup_(message_freep) Hearth__V1__Vm *vm = NULL;
		int result = get_vm(ctl, ctl->options.arguments[i], &vm);

		if (status == 0)
			status = result;
		if (result)
			continue;
		if (is_table)
			vm_row(table, vm);
		else
			vm_print(ctl, vm);
		found++;
	}
	if (is_table && found)
		table_flush(table, stdout);
	return status;
}

int run_wait(Ctl *ctl)
{
	const Options *given = &ctl->options;
	Hearth__V1__WaitVmRequest request;
	cleanup_(failure_release) Failure failure = { 0 };
	cleanup_(message_freep) Hearth__V1__Vm *vm = NULL;
	Hearth__V1__VmState states[STATES_MAX];
	int values[STATES_MAX];

	hearth__v1__wait_vm_request__init(&request);
	request.n_states = options_enums(given, "state", values, STATES_MAX);
	for (size_t i = 0; i < request.n_states; i++)
		states[i] = (Hearth__V1__VmState)values[i];
	request.states = states;
	request.condition = text_field(options_text(given, "condition"));
	request.vm_id = text_field(given->arguments[0]);
	request.expected_uid = text_field(options_text(given, "expected-uid"));
	if ((request.n_states == 0) == (*request.condition == '\0'))
		return failure_report_local(ctl_json(ctl), EXIT_USAGE,
					    "wait: give one of --state and --condition");
	if (client_call(ctl_client(ctl), vm_method("WaitVm"), &request.base,
			ctl_timeout(ctl, CLIENT_FOREVER), &vm, &failure) < 0)
		return failure_report(&failure, ctl_json(ctl));
	vm_print(ctl, vm);
	return 0;
}

typedef struct EventSink {
	const Ctl *ctl;
	Table *table;
	/* The last ones only, for describe; 0: all. */
	size_t last;
	Hearth__V1__VmEvent *kept[DESCRIBED_EVENTS];
	size_t n_kept;
} EventSink;

static void keep_event(EventSink *sink, Hearth__V1__VmEvent **event)
{
	if (sink->n_kept == sink->last) {
		message_free(sink->kept[0]);
		memmove((void *)sink->kept, (void *)(sink->kept + 1),
			--sink->n_kept * sizeof(void *));
	}
	sink->kept[sink->n_kept++] = take_ptr(*event);
}

static void take_event(EventSink *sink, Hearth__V1__VmEvent **event)
{
	if (sink->last)
		keep_event(sink, event);
	else if (ctl_json(sink->ctl))
		json_print_message(&(*event)->base, false);
	else
		event_row(sink->table, *event);
}

/* All events of @id into @sink, page by page: 0, or the exit status. */
static int read_events(Ctl *ctl, const char *id, const char *uid, EventSink *sink)
{
	Hearth__V1__ListVmEventsRequest request;
	cleanup_free char *token = NULL;

	hearth__v1__list_vm_events_request__init(&request);
	request.vm_id = text_field(id);
	request.uid = text_field(uid);
	request.page_size = EVENTS_PAGE;
	do {
		cleanup_(message_freep) Hearth__V1__ListVmEventsResponse *page = NULL;
		int status;

		request.page_token = text_field(token);
		status = ctl_call(ctl, vm_method("ListVmEvents"), &request.base, &page);
		if (status)
			return status;
		for (size_t i = 0; i < page->n_events; i++)
			take_event(sink, &page->events[i]);
		free(token);
		token = text_dup(page->next_page_token);
	} while (*token);
	return 0;
}

int run_events(Ctl *ctl)
{
	cleanup_(table_freep) Table *table = table_new(event_columns, ctl->format == OUTPUT_WIDE);
	EventSink sink = { .ctl = ctl, .table = table };
	int status = read_events(ctl, ctl->options.arguments[0], options_text(&ctl->options, "uid"),
				 &sink);

	if (!ctl_json(ctl) && status == 0)
		table_flush(table, stdout);
	return status;
}

/* As a paragraph; nothing if there are none. */
static void print_events(const Ctl *ctl, Hearth__V1__VmEvent *const *events, size_t count)
{
	cleanup_(table_freep) Table *table = table_new(event_columns, ctl->format == OUTPUT_WIDE);

	for (size_t i = 0; i < count; i++)
		event_row(table, events[i]);
	if (!count)
		return;
	(void)printf("\n");
	table_flush(table, stdout);
}

int run_describe(Ctl *ctl)
{
	cleanup_(message_freep) Hearth__V1__Vm *vm = NULL;
	EventSink sink = { .ctl = ctl, .last = DESCRIBED_EVENTS };
	int status = get_vm(ctl, ctl->options.arguments[0], &vm);

	if (status)
		return status;
	if (ctl->format == OUTPUT_JSON || ctl->format == OUTPUT_NAME) {
		vm_print(ctl, vm);
		return 0;
	}
	vm_describe(vm);
	status = read_events(ctl, vm->vm_id, vm->uid, &sink);
	print_events(ctl, sink.kept, sink.n_kept);
	for (size_t i = 0; i < sink.n_kept; i++)
		message_free(sink.kept[i]);
	return status;
}

static void print_part(const char *title, const char *text)
{
	if (*text)
		(void)printf("\n== %s\n%s%s", title, text,
			     text[strlen(text) - 1] == '\n' ? "" : "\n");
}

static void print_diagnosis(const Ctl *ctl, const Hearth__V1__DiagnoseVmResponse *answer)
{
	vm_describe(answer->vm);
	print_events(ctl, answer->events, answer->n_events);
	if (answer->usage)
		(void)printf("\nUses %" PRIu64 " bytes of memory (%" PRIu64
			     " at most so far), has used "
			     "%" PRIu64 " usec of CPU, throttled for %" PRIu64 "\n",
			     answer->usage->memory_bytes, answer->usage->memory_peak_bytes,
			     answer->usage->cpu_usec, answer->usage->cpu_throttled_usec);
	egress_print_known(ctl, answer);
	print_part("the end of its console", answer->console);
	print_part("the end of its VMM's words", answer->vmm_log);
	for (size_t i = 0; i < answer->n_missing; i++)
		print_clean(stdout, "%smissing: %s\n", i ? "" : "\n", answer->missing[i]);
}

int run_diagnose(Ctl *ctl)
{
	cleanup_(message_freep) Hearth__V1__DiagnoseVmResponse *answer = NULL;
	Hearth__V1__DiagnoseVmRequest request;
	int status;

	hearth__v1__diagnose_vm_request__init(&request);
	request.vm_id = text_field(ctl->options.arguments[0]);
	status = ctl_call(ctl, vm_method("DiagnoseVm"), &request.base, &answer);
	if (status)
		return status;
	if (ctl_json(ctl)) {
		json_print_message(&answer->base, true);
		return 0;
	}
	print_diagnosis(ctl, answer);
	return 0;
}

static void print_console(const Ctl *ctl, const Hearth__V1__ReadConsoleResponse *part)
{
	if (ctl_json(ctl)) {
		json_print_message(&part->base, false);
		return;
	}
	if (part->gap)
		(void)fputs("[hearthctl: console output was lost here]\n", stderr);
	(void)fputs(part->text, stdout);
	(void)fflush(stdout);
}

int run_console(Ctl *ctl)
{
	const Options *given = &ctl->options;
	Hearth__V1__ReadConsoleRequest request;
	cleanup_(failure_release) Failure failure = { 0 };
	cleanup_(client_stream_freep) ClientStream *stream = NULL;
	Hearth__V1__ReadConsoleResponse *part = NULL;
	int got;

	hearth__v1__read_console_request__init(&request);
	request.vm_id = text_field(given->arguments[0]);
	request.expected_uid = text_field(options_text(given, "expected-uid"));
	request.tail_bytes = options_number(given, "tail", 0);
	request.follow = options_has(given, "follow");
	if (options_has(given, "vmm"))
		request.source = HEARTH__V1__CONSOLE_SOURCE__CONSOLE_SOURCE_VMM;
	stream = client_stream(ctl_client(ctl), vm_method("ReadConsole"), &request.base,
			       ctl_timeout(ctl, CLIENT_FOREVER));
	while ((got = client_stream_next(stream, &part, &failure)) > 0) {
		print_console(ctl, part);
		message_free(take_ptr(part));
	}
	if (failure.interrupted)
		return EXIT_RPC + failure.code;
	return got < 0 ? failure_report(&failure, ctl_json(ctl)) : 0;
}

int run_metrics(Ctl *ctl)
{
	const Options *given = &ctl->options;
	cleanup_(message_freep) Hearth__V1__VmMetrics *metrics = NULL;
	Hearth__V1__GetVmMetricsRequest request;
	int status;

	hearth__v1__get_vm_metrics_request__init(&request);
	request.vm_id = text_field(given->arguments[0]);
	request.expected_uid = text_field(options_text(given, "expected-uid"));
	request.cached = options_has(given, "cached");
	status = ctl_call(ctl, vm_method("GetVmMetrics"), &request.base, &metrics);
	if (status == 0)
		metrics_print(ctl, metrics, options_text(given, "filter"));
	return status;
}
