/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/ctl.h"
#include "agent/ctl/format.h"
#include "agent/ctl/json.h"
#include "agent/ctl/request.h"
#include "agent/ctl/table.h"
#include "agent/ctl/vm_view.h"
#include "base/clock.h"
#include "base/text.h"
#include "grpc/health/v1/health.pb-c.h"

#include <inttypes.h>

/* node, doctor, health, version. */

/* What a node that leaves them out is shown with. */
#define EMPTY ((char[]){ "" })
static const Hearth__V1__NodeStatus no_status = {
	.boot_id = EMPTY,
	.store_id = EMPTY,
	.agent_version = EMPTY,
	.launcher = EMPTY,
	.cpu_model = EMPTY,
	.kernel = EMPTY,
};
static const Hearth__V1__Resources no_resources = { 0 };
static const Hearth__V1__NodeNetwork no_network = { .mode = EMPTY, .message = EMPTY };

static void line(const char *name, const char *format, ...) printf_like(2, 3);

static void line(const char *name, const char *format, ...)
{
	char text[1024] = "";
	va_list ap;

	va_start(ap, format);
	(void)text_vappend(text, text + sizeof text, format, ap);
	va_end(ap);
	print_clean(stdout, "%-12s %s\n", name, *text ? text : "-");
}

static void print_backends(const Hearth__V1__NodeStatus *status)
{
	static const Column columns[] = {
		{ "BACKEND", false }, { "AVAILABLE", false },
		{ "VERSION", false }, { "ACCELERATOR", false },
		{ "DEFAULT", false }, { "CAPABILITIES", false },
		{ "MESSAGE", false }, { 0 },
	};
	cleanup_(table_freep) Table *table = table_new(columns, false);
	char name[40];

	for (size_t i = 0; i < status->n_backends; i++) {
		const Hearth__V1__BackendInfo *backend = status->backends[i];
		char text[512];
		char *at = text;

		*at = '\0';
		for (size_t k = 0; k < backend->n_capabilities; k++)
			at = text_append(at, text + sizeof text, "%s%s", k ? "," : "",
					 backend->capabilities[k]);
		table_cell(
			table, "%s",
			enum_text(&hearth__v1__backend__descriptor, (int)backend->backend, name));
		table_cell(table, "%s", backend->available ? "yes" : "no");
		table_cell(table, "%s", backend->version);
		table_cell(table, "%s", backend->accelerator);
		table_cell(table, "%s", backend->is_default ? "yes" : "");
		table_cell(table, "%s", text);
		table_cell(table, "%s", backend->message);
	}
	if (!status->n_backends)
		return;
	(void)printf("\n");
	table_flush(table, stdout);
}

static void print_network(const Hearth__V1__NodeNetwork *network)
{
	char name[40];

	line("Network:", "%s%s%s%s", network->mode, network->degraded ? ", degraded" : "",
	     *network->mode ? ", enforced by " : "",
	     *network->mode ? enum_text(&hearth__v1__enforcement__descriptor,
					(int)network->enforcement, name)
			    : "");
}

/* What VMs have, what they may have, and what the host has, of each that there is any of. */
static void print_resources(const Hearth__V1__NodeStatus *status)
{
	const Hearth__V1__Resources *used = status->allocated ? status->allocated : &no_resources;
	const Hearth__V1__Resources *most =
		status->allocatable ? status->allocatable : &no_resources;
	const Hearth__V1__Resources *host = status->capacity ? status->capacity : &no_resources;
	const struct {
		const char *name, *unit;
		uint64_t used, most, host;
	} rows[] = {
		{ "vCPUs:", "", used->vcpus, most->vcpus, host->vcpus },
		{ "Memory:", " MiB", used->memory_mib, most->memory_mib, host->memory_mib },
		{ "Huge pages:", "", used->huge_pages_2m, most->huge_pages_2m,
		  host->huge_pages_2m },
		{ "Disk:", " MiB", used->disk_mib, most->disk_mib, host->disk_mib },
		{ "IPv4:", "", used->ipv4_addresses, most->ipv4_addresses, host->ipv4_addresses },
		{ "IPv6:", "", used->ipv6_addresses, most->ipv6_addresses, host->ipv6_addresses },
		{ "VMs:", "", used->vms, most->vms, host->vms },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char limit[32] = "any number";

		if (!rows[i].host)
			continue;
		if (rows[i].most)
			(void)snprintf(limit, sizeof limit, "%" PRIu64 "%s", rows[i].most,
				       rows[i].unit);
		line(rows[i].name, "%" PRIu64 "%s of %s; the host has %" PRIu64 "%s", rows[i].used,
		     rows[i].unit, limit, rows[i].host, rows[i].unit);
	}
}

static void print_node(const Hearth__V1__Node *node)
{
	const Hearth__V1__NodeStatus *status = node->status ? node->status : &no_status;
	char text[FORMAT_MAX];
	char name[40];

	line("Node:", "%s", node->node_id);
	line("Agent:", "%s, up %s", status->agent_version,
	     format_age(status->agent_start_time, text));
	line("Kernel:", "%s", status->kernel);
	line("CPU:", "%s", status->cpu_model);
	line("Launcher:", "%s", status->launcher);
	print_network(status->network ? status->network : &no_network);
	line("Boot:", "%s", status->boot_id);
	line("Store:", "%s, revision %" PRIu64, status->store_id, status->revision);
	print_resources(status);
	for (size_t i = 0; i < status->n_vm_counts; i++)
		line("", "%" PRIu64 " %s", status->vm_counts[i]->count,
		     enum_text(&hearth__v1__vm_state__descriptor, (int)status->vm_counts[i]->state,
			       name));
	if (status->leftovers_removed)
		line("Swept:", "%" PRIu64 " leftovers of no VM", status->leftovers_removed);
	for (size_t i = 0; i < status->n_cordons; i++)
		line("Cordoned:", "by %s for %s: %s", status->cordons[i]->owner,
		     format_age(status->cordons[i]->time, text), status->cordons[i]->reason);
	conditions_print(status->conditions, status->n_conditions);
	print_backends(status);
	(void)fflush(stdout);
}

static void show_node(const Ctl *ctl, const Hearth__V1__Node *node, bool in_stream)
{
	if (ctl_json(ctl)) {
		json_print_message(&node->base, !in_stream);
	} else if (ctl->format == OUTPUT_NAME) {
		print_clean(stdout, "%s\n", node->node_id);
		(void)fflush(stdout);
	} else {
		print_node(node);
	}
}

/* A call that answers the node, shown. */
static int call_node(Ctl *ctl, const char *method, const ProtobufCMessage *request)
{
	cleanup_(message_freep) Hearth__V1__Node *node = NULL;
	int status = ctl_call(ctl, node_method(method), request, &node);

	if (status)
		return status;
	show_node(ctl, node, false);
	return 0;
}

int run_node_get(Ctl *ctl)
{
	Hearth__V1__GetNodeRequest request;

	hearth__v1__get_node_request__init(&request);
	return call_node(ctl, "GetNode", &request.base);
}

int run_node_cordon(Ctl *ctl)
{
	Hearth__V1__CordonRequest request;

	hearth__v1__cordon_request__init(&request);
	request.owner = text_field(ctl->options.arguments[0]);
	request.reason = text_field(options_text(&ctl->options, "reason"));
	request.validate_only = options_has(&ctl->options, "validate-only");
	return call_node(ctl, "Cordon", &request.base);
}

static void print_drain(const Ctl *ctl, const Hearth__V1__DrainResponse *answer, bool only_checked)
{
	if (ctl_json(ctl)) {
		json_print_message(&answer->base, true);
		return;
	}
	for (size_t i = 0; i < answer->n_failures; i++)
		print_clean(stderr, "%s: %s (%s)\n", answer->failures[i]->vm_id,
			    answer->failures[i]->message, answer->failures[i]->reason);
	print_clean(stdout,
		    only_checked ? "%" PRIu64 " VMs would end\n"
				 : "%" PRIu64 " VMs have ended, %" PRIu64 " have not\n",
		    answer->ended, answer->failed);
}

int run_node_drain(Ctl *ctl)
{
	const Options *given = &ctl->options;
	Google__Protobuf__Duration grace = duration_field(options_duration(given, "grace", 0));
	cleanup_(message_freep) Hearth__V1__DrainResponse *answer = NULL;
	Hearth__V1__DrainRequest request;
	int status;

	hearth__v1__drain_request__init(&request);
	request.owner = text_field(given->arguments[0]);
	request.reason = text_field(options_text(given, "reason"));
	request.action = (Hearth__V1__DrainAction)options_enum(given, "action", 0);
	request.label_selector = text_field(options_text(given, "selector"));
	request.tenant = text_field(options_text(given, "tenant"));
	if (options_has(given, "grace"))
		request.grace = &grace;
	request.validate_only = options_has(given, "validate-only");
	status = ctl_call_long(ctl, node_method("Drain"), &request.base, &answer);
	if (status)
		return status;
	print_drain(ctl, answer, request.validate_only);
	return answer->failed ? EXIT_FAILURE : 0;
}

int run_node_uncordon(Ctl *ctl)
{
	Hearth__V1__UncordonRequest request;

	hearth__v1__uncordon_request__init(&request);
	request.owner = text_field(ctl->options.arguments[0]);
	request.validate_only = options_has(&ctl->options, "validate-only");
	return call_node(ctl, "Uncordon", &request.base);
}

int run_node_watch(Ctl *ctl)
{
	Hearth__V1__WatchNodeRequest request;
	cleanup_(failure_release) Failure failure = { 0 };
	cleanup_(client_stream_freep) ClientStream *stream = NULL;
	Hearth__V1__Node *node = NULL;
	bool first = true;
	int got;

	hearth__v1__watch_node_request__init(&request);
	stream = client_stream(ctl_client(ctl), node_method("WatchNode"), &request.base,
			       ctl_timeout(ctl, CLIENT_FOREVER));
	while ((got = client_stream_next(stream, &node, &failure)) > 0) {
		if (!first && ctl->format != OUTPUT_JSON && ctl->format != OUTPUT_NAME)
			(void)printf("\n---\n\n");
		show_node(ctl, node, true);
		message_free(take_ptr(node));
		first = false;
	}
	if (failure.interrupted)
		return EXIT_RPC + failure.code;
	return got < 0 ? failure_report(&failure, ctl_json(ctl)) : 0;
}

static void print_checks(const Hearth__V1__DoctorResponse *doctor)
{
	static const Column columns[] = {
		{ "CHECK", false },
		{ "STATUS", false },
		{ "SEEN", false },
		{ 0 },
	};
	cleanup_(table_freep) Table *table = table_new(columns, false);
	char name[40];

	for (size_t i = 0; i < doctor->n_checks; i++) {
		table_cell(table, "%s", doctor->checks[i]->name);
		table_cell(table, "%s",
			   enum_text(&hearth__v1__check_status__descriptor,
				     (int)doctor->checks[i]->status, name));
		table_cell(table, "%s", doctor->checks[i]->message);
	}
	table_flush(table, stdout);
	for (size_t i = 0; i < doctor->n_checks; i++)
		if (*doctor->checks[i]->remedy)
			print_clean(stdout, "\n%s: %s\n", doctor->checks[i]->name,
				    doctor->checks[i]->remedy);
}

int run_doctor(Ctl *ctl)
{
	Hearth__V1__DoctorRequest request;
	cleanup_(message_freep) Hearth__V1__DoctorResponse *doctor = NULL;
	int status;

	hearth__v1__doctor_request__init(&request);
	status = ctl_call(ctl, node_method("Doctor"), &request.base, &doctor);
	if (status)
		return status;
	if (ctl_json(ctl))
		json_print_message(&doctor->base, true);
	else
		print_checks(doctor);
	for (size_t i = 0; i < doctor->n_checks; i++)
		if (doctor->checks[i]->status == HEARTH__V1__CHECK_STATUS__CHECK_STATUS_MISSING)
			status = EXIT_LOCAL;
	return status;
}

/* One service's health: 0 with *@ret, or the exit status. */
static int check_health(Ctl *ctl, const char *service, bool *ret)
{
	Grpc__Health__V1__HealthCheckRequest request;
	const Method check = { &grpc__health__v1__health__descriptor, "Check" };
	cleanup_(message_freep) Grpc__Health__V1__HealthCheckResponse *health = NULL;
	int status;

	grpc__health__v1__health_check_request__init(&request);
	request.service = text_field(service);
	status = ctl_call(ctl, check, &request.base, &health);
	if (status)
		return status;
	*ret = health->status == GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
	return 0;
}

int run_health(Ctl *ctl)
{
	bool alive = false;
	bool serving = false;
	int status = check_health(ctl, "", &alive);

	if (status == 0)
		status = check_health(ctl, hearth__v1__vm_service__descriptor.name, &serving);
	if (status)
		return status;
	if (ctl_json(ctl)) {
		cleanup_(json_freep) json_t *json =
			json_pack("{s:b, s:b}", "alive", alive, "acceptsWork", serving);

		json_print(stdout, json, true);
	} else {
		(void)printf("alive:        %s\naccepts work: %s\n", alive ? "yes" : "no",
			     serving ? "yes" : "no");
	}
	return alive && serving ? 0 : EXIT_LOCAL;
}

int run_version(Ctl *ctl)
{
	Hearth__V1__GetNodeRequest request;
	cleanup_(failure_release) Failure failure = { 0 };
	cleanup_(message_freep) Hearth__V1__Node *node = NULL;
	const char *agent;

	hearth__v1__get_node_request__init(&request);
	if (!options_has(&ctl->options, "client") &&
	    client_call(ctl_client(ctl), node_method("GetNode"), &request.base,
			ctl_timeout(ctl, 2LL * USEC_PER_SEC), &node, &failure) < 0)
		node = NULL; /* no answer is shown as such */
	agent = node && node->status ? node->status->agent_version : NULL;
	if (ctl_json(ctl)) {
		cleanup_(json_freep) json_t *json =
			json_pack("{s:s, s:s*}", "hearthctl", HEARTH_VERSION, "hearthd", agent);

		json_print(stdout, json, true);
		return 0;
	}
	(void)printf("hearthctl %s\n", HEARTH_VERSION);
	if (!options_has(&ctl->options, "client"))
		print_clean(stdout, "hearthd   %s\n", agent ? agent : "(no answer)");
	return 0;
}
