/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/egress_view.h"

#include "agent/ctl/format.h"
#include "agent/ctl/json.h"
#include "agent/ctl/table.h"

#include <inttypes.h>

static void add_peer(char **items, const Hearth__V1__EgressPeer *peer)
{
	cleanup_free char *except = NULL;

	for (size_t i = 0; i < peer->n_except; i++)
		list_add(&except, " and ", "%s", peer->except[i]);
	list_add(items, ", ", "%s%s%s", peer->cidr, except ? " without " : "",
		 except ? except : "");
}

static void add_port(char **items, const Hearth__V1__EgressPort *port)
{
	char name[40] = "tcp";

	if (port->protocol)
		(void)enum_text(&hearth__v1__protocol__descriptor, (int)port->protocol, name);
	if (!port->port)
		list_add(items, ", ", "%s", name);
	else if (port->end_port > port->port)
		list_add(items, ", ", "%s/%u-%u", name, port->port, port->end_port);
	else
		list_add(items, ", ", "%s/%u", name, port->port);
}

char *egress_peers_text(const Hearth__V1__EgressRule *rule)
{
	char *items = NULL;

	for (size_t i = 0; i < rule->n_to; i++)
		add_peer(&items, rule->to[i]);
	for (size_t i = 0; i < rule->n_fqdn; i++)
		list_add(&items, ", ", "%s", rule->fqdn[i]);
	if (!items)
		list_add(&items, ", ", "everywhere");
	return items;
}

char *egress_ports_text(const Hearth__V1__EgressRule *rule)
{
	char *items = NULL;

	for (size_t i = 0; i < rule->n_ports; i++)
		add_port(&items, rule->ports[i]);
	if (!items)
		list_add(&items, ", ", "all");
	return items;
}

static void print_rules(const Hearth__V1__EgressPolicy *policy, bool wide)
{
	static const Column columns[] = {
		{ "RULE", false }, { "TO", false }, { "PORTS", false }, { 0 }
	};
	cleanup_(table_freep) Table *table = table_new(columns, wide);

	for (size_t i = 0; policy && i < policy->n_rules; i++) {
		cleanup_free char *peers = egress_peers_text(policy->rules[i]);
		cleanup_free char *ports = egress_ports_text(policy->rules[i]);

		table_cell(table, "%zu", i);
		table_cell(table, "%s", peers);
		table_cell(table, "%s", ports);
	}
	if (policy && policy->n_rules)
		table_flush(table, stdout);
	else
		(void)printf("No rule: nothing may be reached.\n");
}

static void print_traffic(Hearth__V1__EgressTraffic *const *all, size_t count, bool wide)
{
	static const Column columns[] = {
		{ "DIRECTION", false },
		{ "VERDICT", false },
		{ "PACKETS", false },
		{ "MEANING", false },
		{ 0 },
	};
	cleanup_(table_freep) Table *table = table_new(columns, wide);
	char name[40];

	for (size_t i = 0; i < count; i++) {
		const Hearth__V1__EgressTraffic *traffic = all[i];

		(void)enum_text(&hearth__v1__direction__descriptor, (int)traffic->direction, name);
		for (size_t k = 0; k < traffic->n_counters; k++) {
			table_cell(table, "%s", name);
			table_cell(table, "%s", traffic->counters[k]->verdict);
			table_cell(table, "%" PRIu64, traffic->counters[k]->packets);
			table_cell(table, "%s", traffic->counters[k]->description);
		}
	}
	if (!count)
		return;
	(void)printf("\n");
	table_flush(table, stdout);
}

static void print_leads(Hearth__V1__EgressLead *const *leads, size_t count, bool wide)
{
	static const Column columns[] = {
		{ "NAME", false }, { "ADDRESS", false }, { "REMAINING", false }, { 0 }
	};
	cleanup_(table_freep) Table *table = table_new(columns, wide);

	for (size_t i = 0; i < count; i++) {
		const Hearth__V1__EgressLead *lead = leads[i];

		table_cell(table, "%s", lead->name);
		table_cell(table, "%s", lead->address);
		table_cell(table, "%" PRId64 "s", lead->remaining ? lead->remaining->seconds : 0);
	}
	if (!count)
		return;
	(void)printf("\n");
	table_flush(table, stdout);
}

void egress_print_known(const Ctl *ctl, const Hearth__V1__DiagnoseVmResponse *answer)
{
	bool wide = ctl->format == OUTPUT_WIDE;

	print_leads(answer->names, answer->n_names, wide);
	print_traffic(answer->traffic, answer->n_traffic, wide);
}

void egress_print(const Ctl *ctl, const Hearth__V1__VmEgress *egress)
{
	bool wide = ctl->format == OUTPUT_WIDE;
	char name[40] = "nothing: not running, or no interface";

	if (ctl_json(ctl)) {
		json_print_message(&egress->base, true);
		return;
	}
	if (ctl->format == OUTPUT_NAME) {
		print_clean(stdout, "%s\n", egress->vm_id);
		return;
	}
	if (egress->enforcement == HEARTH__V1__ENFORCEMENT__ENFORCEMENT_NONE)
		(void)snprintf(name, sizeof name, "nothing: no packet passes");
	else if (egress->enforcement)
		(void)enum_text(&hearth__v1__enforcement__descriptor, (int)egress->enforcement,
				name);
	print_field("VM:", "%s", egress->vm_id);
	print_field("Generation:", "%" PRIu64, egress->generation);
	print_field("Enforced by:", "%s", name);
	(void)printf("\n");
	print_rules(egress->policy, wide);
	print_leads(egress->names, egress->n_names, wide);
	print_traffic(egress->traffic, egress->n_traffic, wide);
}
