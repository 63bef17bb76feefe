/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/ctl.h"
#include "agent/ctl/format.h"
#include "agent/ctl/json.h"
#include "agent/ctl/request.h"
#include "agent/ctl/table.h"
#include "base/clock.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

/* template import, list, get, verify and delete. */

enum {
	BAR_WIDTH = 30,
	BAR_AFTER = 300 * USEC_PER_MSEC, /* what is quicker needs none */
	DIGEST_SHORT = 12,
	PER_CENT = 100,
};

static void print_template(const Hearth__V1__Template *template)
{
	char name[40], text[FORMAT_MAX];

	print_field("Template:", "%s", template->template_id);
	print_field("State:", "%s",
		    enum_text(&hearth__v1__template_state__descriptor, (int)template->state, name));
	if (template->problem)
		print_field("Problem:", "%s", template->problem->message);
	print_field("Size:", "%s", format_bytes(template->size_bytes, text));
	print_field("On disk:", "%s", format_bytes(template->allocated_bytes, text));
	if (template->extents)
		print_field("Extents:", "%u", template->extents);
	print_field("SHA-256:", "%s", template->sha256);
	print_field("Source:", "%s", template->source);
	if (template->stamp_time)
		print_field("Stamped:", "%s", format_time(template->stamp_time, text));
	print_field("Used by:", "%u drive%s", template->users, template->users == 1 ? "" : "s");
}

static void show_template(const Ctl *ctl, const Hearth__V1__Template *template)
{
	if (ctl_json(ctl))
		json_print_message(&template->base, true);
	else if (ctl->format == OUTPUT_NAME)
		print_clean(stdout, "%s\n", template->template_id);
	else
		print_template(template);
}

static const Column template_columns[] = {
	{ "TEMPLATE", false }, { "STATE", false },
	{ "SIZE", false },     { "ON-DISK", false },
	{ "USED", false },     { "AGE", false },
	{ "SHA-256", false },  { "EXTENTS", true },
	{ "SOURCE", true },    { 0 },
};

static void add_row(Table *table, const Hearth__V1__Template *template, bool wide)
{
	char name[40], text[FORMAT_MAX];
	int digits = wide ? (int)strlen(template->sha256) : DIGEST_SHORT;

	table_cell(table, "%s", template->template_id);
	if (template->state == HEARTH__V1__TEMPLATE_STATE__TEMPLATE_STATE_IMPORTING &&
	    template->total_bytes)
		table_cell(table, "importing, %" PRIu64 " %%",
			   template->done_bytes * PER_CENT / template->total_bytes);
	else
		table_cell(table, "%s",
			   enum_text(&hearth__v1__template_state__descriptor, (int)template->state,
				     name));
	table_cell(table, "%s", format_bytes(template->size_bytes, text));
	table_cell(table, "%s", format_bytes(template->allocated_bytes, text));
	table_cell(table, "%u", template->users);
	table_cell(table, "%s", format_age(template->stamp_time, text));
	table_cell(table, "%.*s", digits, template->sha256);
	table_cell(table, "%u", template->extents);
	table_cell(table, "%s", template->source);
}

int run_template_list(Ctl *ctl)
{
	cleanup_(message_freep) Hearth__V1__ListTemplatesResponse *answer = NULL;
	cleanup_(table_freep) Table *table =
		table_new(template_columns, ctl->format == OUTPUT_WIDE);
	Hearth__V1__ListTemplatesRequest request;
	int status;

	hearth__v1__list_templates_request__init(&request);
	status = ctl_call(ctl, image_method("ListTemplates"), &request.base, &answer);
	if (status)
		return status;
	if (ctl_json(ctl)) {
		json_print_message(&answer->base, true);
		return 0;
	}
	for (size_t i = 0; i < answer->n_templates; i++) {
		if (ctl->format == OUTPUT_NAME)
			print_clean(stdout, "%s\n", answer->templates[i]->template_id);
		else
			add_row(table, answer->templates[i], ctl->format == OUTPUT_WIDE);
	}
	if (ctl->format != OUTPUT_NAME)
		table_flush(table, stdout);
	return 0;
}

int run_template_get(Ctl *ctl)
{
	cleanup_(message_freep) Hearth__V1__Template *template = NULL;
	Hearth__V1__GetTemplateRequest request;
	int status;

	hearth__v1__get_template_request__init(&request);
	request.template_id = text_field(ctl->options.arguments[0]);
	status = ctl_call(ctl, image_method("GetTemplate"), &request.base, &template);
	if (status == 0)
		show_template(ctl, template);
	return status;
}

int run_template_delete(Ctl *ctl)
{
	int worst = 0;

	for (size_t i = 0; i < ctl->options.n_arguments; i++) {
		cleanup_(message_freep) Hearth__V1__DeleteTemplateResponse *answer = NULL;
		Hearth__V1__DeleteTemplateRequest request;
		int status;

		hearth__v1__delete_template_request__init(&request);
		request.template_id = text_field(ctl->options.arguments[i]);
		request.allow_missing = options_has(&ctl->options, "allow-missing");
		status = ctl_call(ctl, image_method("DeleteTemplate"), &request.base, &answer);
		if (status)
			worst = status;
		else if (!ctl_json(ctl))
			print_clean(stdout, "%s deleted\n", request.template_id);
	}
	return worst;
}

/* How far something is, on the terminal; nothing where stderr is none. */
typedef struct Bar {
	const char *what;
	int64_t began;
	bool shown;
} Bar;

static void bar_clear(Bar *bar)
{
	if (bar->shown)
		(void)fputs("\r\033[K", stderr);
	(void)fflush(stderr);
}

static void bar_show(Bar *bar, uint64_t done, uint64_t total)
{
	int64_t elapsed = clock_mono_us() - bar->began;
	int full = total ? (int)(done * BAR_WIDTH / total) : 0;
	char text[FORMAT_MAX];

	if (!isatty(STDERR_FILENO) || elapsed < BAR_AFTER || !total)
		return;
	bar_clear(bar);
	bar->shown = true;
	print_clean(stderr, "%s [%.*s%*s] %3" PRIu64 " %%  %s", bar->what, full,
		    "##############################", BAR_WIDTH - full, "", done * PER_CENT / total,
		    format_span(elapsed, text));
	(void)fflush(stderr);
}

/* What both streams' messages say; protobuf-c has no type for it. */
typedef struct ImageAnswer {
	uint64_t done, total;
	const Hearth__V1__Template *template;
} ImageAnswer;

static ImageAnswer answer_of(const ProtobufCMessage *message)
{
	if (message->descriptor == &hearth__v1__import_template_response__descriptor) {
		const Hearth__V1__ImportTemplateResponse *answer = (const void *)message;

		return (ImageAnswer){ answer->done_bytes, answer->total_bytes, answer->template_ };
	}
	const Hearth__V1__VerifyTemplateResponse *answer = (const void *)message;

	return (ImageAnswer){ answer->done_bytes, answer->total_bytes, answer->template_ };
}

/* A stream of them, shown to its end. */
static int follow(Ctl *ctl, const char *method, const ProtobufCMessage *request)
{
	Bar bar = { .what = ctl->options.arguments[0], .began = clock_mono_us() };
	cleanup_(failure_release) Failure failure = { 0 };
	cleanup_(client_stream_freep) ClientStream *stream = client_stream(
		ctl_client(ctl), image_method(method), request, ctl_timeout(ctl, CLIENT_FOREVER));
	ProtobufCMessage *message = NULL;
	int got;

	while ((got = client_stream_next(stream, &message, &failure)) > 0) {
		const ImageAnswer answer = answer_of(message);

		if (answer.template) {
			bar_clear(&bar);
			show_template(ctl, answer.template);
		} else {
			bar_show(&bar, answer.done, answer.total);
		}
		message_free(take_ptr(message));
	}
	if (got == 0)
		return 0;
	bar_clear(&bar);
	return failure_report(&failure, ctl_json(ctl));
}

int run_template_import(Ctl *ctl)
{
	Hearth__V1__ImportTemplateRequest request;

	hearth__v1__import_template_request__init(&request);
	request.template_id = text_field(ctl->options.arguments[0]);
	request.path = text_field(ctl->options.arguments[1]);
	request.sha256 = text_field(options_text(&ctl->options, "sha256"));
	request.reference = text_field(options_text(&ctl->options, "reference"));
	request.size_mib = (uint32_t)options_number(&ctl->options, "size", 0);
	return follow(ctl, "ImportTemplate", &request.base);
}

int run_template_verify(Ctl *ctl)
{
	Hearth__V1__VerifyTemplateRequest request;

	hearth__v1__verify_template_request__init(&request);
	request.template_id = text_field(ctl->options.arguments[0]);
	request.if_changed = options_has(&ctl->options, "if-changed");
	return follow(ctl, "VerifyTemplate", &request.base);
}
