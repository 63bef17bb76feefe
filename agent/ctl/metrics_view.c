/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/format.h"
#include "agent/ctl/json.h"
#include "agent/ctl/vm_view.h"
#include "base/text.h"

#include <inttypes.h>
#include <string.h>

static const Column metric_columns[] = {
	{ "NAME", false },
	{ "KIND", false },
	{ "VALUE", false },
	{ 0 },
};

static bool begins(const char *name, const char *prefix)
{
	return !prefix || strncmp(name, prefix, strlen(prefix)) == 0;
}

/* Takes out of @metrics what does not begin with @prefix. */
static void keep(Hearth__V1__VmMetrics *metrics, const char *prefix)
{
	size_t kept = 0;

	for (size_t i = 0; i < metrics->n_metrics; i++) {
		if (begins(metrics->metrics[i]->name, prefix))
			metrics->metrics[kept++] = metrics->metrics[i];
		else
			message_free(metrics->metrics[i]);
	}
	metrics->n_metrics = kept;
}

/* A row for each field of @message, all of which are uint64, whose name, such as "usage.cpu_usec",
 * begins with @prefix. */
static void add_numbers(Table *table, const char *group, const ProtobufCMessage *message,
			const char *prefix)
{
	for (unsigned i = 0; message && i < message->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
		const char *at = (const char *)message + field->offset;
		cleanup_free char *name = text_printf("%s.%s", group, field->name);

		if (!begins(name, prefix))
			continue;
		table_cell(table, "%s", name);
		table_cell(table, "%s", "");
		table_cell(table, "%" PRIu64, *(const uint64_t *)(const void *)at);
	}
}

static void print_table(const Ctl *ctl, const Hearth__V1__VmMetrics *metrics, const char *prefix)
{
	cleanup_(table_freep) Table *table = table_new(metric_columns, ctl->format == OUTPUT_WIDE);
	char name[40];

	for (size_t i = 0; i < metrics->n_metrics; i++) {
		const Hearth__V1__Metric *metric = metrics->metrics[i];

		table_cell(table, "%s", metric->name);
		table_cell(
			table, "%s",
			enum_text(&hearth__v1__metric_kind__descriptor, (int)metric->kind, name));
		table_cell(table, "%" PRIu64, metric->value);
	}
	add_numbers(table, "usage", metrics->usage ? &metrics->usage->base : NULL, prefix);
	add_numbers(table, "balloon", metrics->balloon ? &metrics->balloon->base : NULL, prefix);
	table_flush(table, stdout);
}

void metrics_print(const Ctl *ctl, Hearth__V1__VmMetrics *metrics, const char *prefix)
{
	if (prefix)
		keep(metrics, prefix);
	if (ctl_json(ctl)) {
		json_print_message(&metrics->base, true);
	} else if (ctl->format == OUTPUT_NAME) {
		for (size_t i = 0; i < metrics->n_metrics; i++)
			print_clean(stdout, "%s\n", metrics->metrics[i]->name);
	} else {
		print_table(ctl, metrics, prefix);
	}
}
