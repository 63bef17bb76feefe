/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/ctl.h"
#include "agent/ctl/egress_view.h"
#include "agent/ctl/format.h"
#include "agent/ctl/json.h"
#include "agent/ctl/request.h"
#include "agent/ctl/table.h"
#include "base/text.h"

#include <inttypes.h>
#include <string.h>

/* egress get, set, explain and watch. */

enum {
	ADDRESS_WIDTH = 21, /* "255.255.255.255:65535" */
};

int run_egress_get(Ctl *ctl)
{
	cleanup_(message_freep) Hearth__V1__VmEgress *egress = NULL;
	Hearth__V1__GetEgressPolicyRequest request;
	int status;

	hearth__v1__get_egress_policy_request__init(&request);
	request.vm_id = text_field(ctl->options.arguments[0]);
	request.expected_uid = text_field(options_text(&ctl->options, "expected-uid"));
	status = ctl_call(ctl, egress_method("GetEgressPolicy"), &request.base, &egress);
	if (status == 0)
		egress_print(ctl, egress);
	return status;
}

/* What the options say; exactly one of them must. */
static int policy_of(const Ctl *ctl, Hearth__V1__EgressPolicy **ret)
{
	const Options *given = &ctl->options;
	bool nothing = options_has(given, "nothing");
	bool something = options_has(given, "file") || options_has(given, "allow");

	if (nothing == something)
		return failure_report_local(ctl_json(ctl), EXIT_USAGE,
					    "egress set: give --file or --allow, or --nothing");
	return request_egress(ctl, "file", ret);
}

int run_egress_set(Ctl *ctl)
{
	const Options *given = &ctl->options;
	cleanup_(message_freep) Hearth__V1__EgressPolicy *policy = NULL;
	cleanup_(message_freep) Hearth__V1__VmEgress *egress = NULL;
	Hearth__V1__SetEgressPolicyRequest request;
	int status = policy_of(ctl, &policy);

	if (status)
		return status;
	hearth__v1__set_egress_policy_request__init(&request);
	request.vm_id = text_field(given->arguments[0]);
	request.expected_uid = text_field(options_text(given, "expected-uid"));
	request.expected_revision = options_number(given, "expected-revision", 0);
	request.expected_generation = options_number(given, "expected-generation", 0);
	request.validate_only = options_has(given, "validate-only");
	request.policy = policy;
	status = ctl_call(ctl, egress_method("SetEgressPolicy"), &request.base, &egress);
	if (status)
		return status;
	if (ctl->format == OUTPUT_TABLE)
		print_clean(stdout, "%s may reach what %zu rule%s allow%s%s\n", egress->vm_id,
			    egress->policy ? egress->policy->n_rules : 0,
			    egress->policy && egress->policy->n_rules == 1 ? "" : "s",
			    egress->policy && egress->policy->n_rules == 1 ? "s" : "",
			    request.validate_only ? " (checked only)" : "");
	else
		egress_print(ctl, egress);
	return 0;
}

static void print_explanation(const Ctl *ctl, const Hearth__V1__ExplainEgressResponse *answer)
{
	if (ctl_json(ctl)) {
		json_print_message(&answer->base, true);
		return;
	}
	print_clean(stdout, "%s: %s (%s)", answer->allowed ? "allowed" : "denied",
		    answer->description, answer->verdict);
	if (answer->has_rule)
		print_clean(stdout, ", rule %u", answer->rule_index);
	print_clean(stdout, "%s\n", answer->enforced ? "" : "; by the policy alone");
}

int run_egress_explain(Ctl *ctl)
{
	const Options *given = &ctl->options;
	cleanup_(message_freep) Hearth__V1__ExplainEgressResponse *answer = NULL;
	Hearth__V1__ExplainEgressRequest request;
	uint64_t port = options_number(given, "port", 0);
	int status;

	if (port > UINT32_MAX)
		return failure_report_local(ctl_json(ctl), EXIT_USAGE, "--port ends at 65535");
	hearth__v1__explain_egress_request__init(&request);
	request.vm_id = text_field(given->arguments[0]);
	request.address = text_field(given->arguments[1]);
	request.port = (uint32_t)port;
	request.protocol = (Hearth__V1__Protocol)options_enum(given, "protocol", 0);
	request.direction = (Hearth__V1__Direction)options_enum(given, "direction", 0);
	request.expected_uid = text_field(options_text(given, "expected-uid"));
	status = ctl_call(ctl, egress_method("ExplainEgress"), &request.base, &answer);
	if (status == 0)
		print_explanation(ctl, answer);
	return status;
}

static const Column flow_columns[] = {
	{ "TIME", false },     { "VM", false },
	{ "DIRECTION", true }, { "PROTOCOL", false },
	{ "SOURCE", false },   { "TARGET", false },
	{ "VERDICT", false },  { "LENGTH", true },
	{ "UNTOLD", false },   { 0 },
};

/* "10.0.0.1:80", "[fd00::1]:80", or without a port. */
static void address_cell(Table *table, const char *address, uint32_t port)
{
	bool six = strchr(address, ':');

	if (port)
		table_cell(table, "%s%s%s:%u", six ? "[" : "", address, six ? "]" : "", port);
	else
		table_cell(table, "%s", address);
}

static void protocol_cell(Table *table, const Hearth__V1__DeniedFlow *flow)
{
	static const struct {
		uint32_t number;
		const char *name;
	} rows[] = {
		{ 1, "icmp" }, { 6, "tcp" }, { 17, "udp" }, { 58, "icmpv6" }, { 132, "sctp" },
	};

	for (size_t i = 0; i < array_size(rows); i++) {
		if (*flow->source_address && rows[i].number == flow->protocol) {
			table_cell(table, "%s", rows[i].name);
			return;
		}
	}
	if (*flow->source_address)
		table_cell(table, "%u", flow->protocol);
	else
		table_cell(table, "0x%04x", flow->ethertype);
}

static void flow_row(Table *table, const Hearth__V1__DeniedFlow *flow)
{
	char text[FORMAT_MAX];
	char name[40];

	table_cell(table, "%s", format_time(flow->time, text));
	table_cell(table, "%s", flow->vm_id);
	table_cell(table, "%s",
		   enum_text(&hearth__v1__direction__descriptor, (int)flow->direction, name));
	protocol_cell(table, flow);
	address_cell(table, flow->source_address, flow->source_port);
	if (*flow->name)
		table_cell(table, "%s", flow->name);
	else
		address_cell(table, flow->target_address, flow->target_port);
	table_cell(table, "%s", flow->verdict);
	table_cell(table, "%u", flow->length);
	table_cell(table, "%" PRIu64, flow->suppressed);
}

static void view_flows(const Ctl *ctl, Table *table, const Hearth__V1__WatchEgressResponse *answer)
{
	if (answer->missed && !ctl_json(ctl))
		(void)fprintf(stderr, "[hearthctl: %" PRIu64 " denied flows were missed here]\n",
			      answer->missed);
	if (ctl_json(ctl) && (answer->n_flows || answer->missed)) {
		json_print_message(&answer->base, false);
		return;
	}
	for (size_t i = 0; i < answer->n_flows; i++) {
		if (ctl->format == OUTPUT_NAME)
			print_clean(stdout, "%s\n", answer->flows[i]->vm_id);
		else
			flow_row(table, answer->flows[i]);
	}
	if (ctl->format != OUTPUT_NAME && answer->n_flows)
		table_flush(table, stdout);
	(void)fflush(stdout);
}

int run_egress_watch(Ctl *ctl)
{
	const Options *given = &ctl->options;
	cleanup_(table_freep) Table *table = table_new(flow_columns, ctl->format == OUTPUT_WIDE);
	cleanup_(failure_release) Failure failure = { 0 };
	cleanup_(client_stream_freep) ClientStream *stream = NULL;
	Hearth__V1__WatchEgressResponse *answer = NULL;
	Hearth__V1__WatchEgressRequest request;
	int got;

	hearth__v1__watch_egress_request__init(&request);
	if (given->n_arguments)
		request.vm_id = text_field(given->arguments[0]);
	request.tenant = text_field(options_text(given, "tenant"));
	table_widen(table, "TIME", strlen("2026-11-23 16:00:00.000"));
	table_widen(table, "VM", 12);
	table_widen(table, "SOURCE", ADDRESS_WIDTH);
	table_widen(table, "TARGET", ADDRESS_WIDTH);
	stream = client_stream(ctl_client(ctl), egress_method("WatchEgress"), &request.base,
			       ctl_timeout(ctl, CLIENT_FOREVER));
	while ((got = client_stream_next(stream, &answer, &failure)) > 0) {
		view_flows(ctl, table, answer);
		message_free(take_ptr(answer));
	}
	if (failure.interrupted)
		return EXIT_RPC + failure.code;
	return got < 0 ? failure_report(&failure, ctl_json(ctl)) : 0;
}
