/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/egress.h"

#include "base/text.h"

#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>

enum {
	FIELD_BYTES = 160, /* of a violation's field */
};

/* One array of each kind, which the rules point into. */
struct Egress {
	atomic_uint refs;
	EgressPolicy policy;
	EgressRule *rules;
	EgressBlock *blocks;
	Prefix *exceptions;
	EgressPort *ports;
	char **names;
	size_t name_count;
};

/* How much of each kind a policy has; while it is read, how much has been. */
typedef struct Sizes {
	size_t rules, blocks, exceptions, ports, names;
} Sizes;

static const uint8_t protocols[] = {
	[VM_PROTOCOL_UNSET] = EGRESS_TCP, [VM_PROTOCOL_TCP] = EGRESS_TCP,
	[VM_PROTOCOL_UDP] = EGRESS_UDP,   [VM_PROTOCOL_SCTP] = EGRESS_SCTP,
	[VM_PROTOCOL_ICMP] = EGRESS_ICMP,
};
static_assert(array_size(protocols) == VM_PROTOCOL_COUNT_, "a number for every protocol");

uint8_t egress_protocol(VmProtocol protocol)
{
	/* A number that no table knows has a violation of its own. */
	return protocol < VM_PROTOCOL_COUNT_ ? protocols[protocol] : EGRESS_TCP;
}

static const VmEgressRule *rule_at(const VmEgressPolicy *policy, size_t i)
{
	return (const VmEgressRule *)policy->rules.items + i;
}

static const VmEgressPeer *peer_at(const VmEgressRule *rule, size_t i)
{
	return (const VmEgressPeer *)rule->to.items + i;
}

static Sizes sizes_of(const VmEgressPolicy *policy)
{
	Sizes sizes = { .rules = policy->rules.count };

	for (size_t i = 0; i < policy->rules.count; i++) {
		const VmEgressRule *rule = rule_at(policy, i);

		sizes.blocks += rule->to.count;
		sizes.ports += rule->ports.count;
		sizes.names += rule->fqdn.count;
		for (size_t k = 0; k < rule->to.count; k++)
			sizes.exceptions += peer_at(rule, k)->except.count;
	}
	return sizes;
}

static int check_sizes(const Sizes *sizes, const char *path, Error *err)
{
	const struct {
		const char *what;
		size_t count, most;
	} rows[] = {
		{ "blocks and exceptions", sizes->blocks + sizes->exceptions, EGRESS_PREFIXES_MAX },
		{ "ports", sizes->ports, EGRESS_PORTS_MAX },
		{ "names", sizes->names, EGRESS_NAMES_MAX },
	};
	char field[FIELD_BYTES];
	int r = 0;

	(void)text_append(field, field + sizeof field, "%s.rules", path);
	if (sizes->rules > EGRESS_RULES_MAX)
		return error_add_violation(err, field, "at most %d, are %zu", EGRESS_RULES_MAX,
					   sizes->rules);
	for (size_t i = 0; i < array_size(rows); i++)
		if (rows[i].count > rows[i].most)
			r = error_add_violation(err, field, "at most %zu %s together, are %zu",
						rows[i].most, rows[i].what, rows[i].count);
	return r;
}

/* Answers whether @ret has been set. */
static bool read_prefix(Prefix *ret, const char *text, const char *field, Error *err)
{
	int r = prefix_parse(ret, text);

	if (r < 0)
		(void)error_add_violation(err, field, "%s", prefix_problem(r));
	return r == 0;
}

static void read_peer(Egress *egress, Sizes *at, const VmEgressPeer *peer, const char *path,
		      Error *err)
{
	EgressBlock *block = &egress->blocks[at->blocks++];
	char field[FIELD_BYTES];
	bool good;

	(void)text_append(field, field + sizeof field, "%s.cidr", path);
	/* One that is missing the tables have told of. */
	good = !text_equal(peer->cidr, "") && read_prefix(&block->cidr, peer->cidr, field, err);
	block->except = &egress->exceptions[at->exceptions];
	block->except_count = peer->except.count;
	for (size_t i = 0; i < peer->except.count; i++) {
		Prefix *except = &egress->exceptions[at->exceptions++];

		(void)text_append(field, field + sizeof field, "%s.except[%zu]", path, i);
		if (read_prefix(except, peer->except.items[i], field, err) && good &&
		    !prefix_contains(&block->cidr, except))
			(void)error_add_violation(err, field, "does not lie in %s", peer->cidr);
	}
}

static void check_port(const VmEgressPort *port, const char *path, Error *err)
{
	char field[FIELD_BYTES];
	bool portless = port->protocol == VM_PROTOCOL_ICMP;

	(void)text_append(field, field + sizeof field, "%s.port", path);
	if (portless && port->port)
		(void)error_add_violation(err, field, "not with ICMP, which has none");
	(void)text_append(field, field + sizeof field, "%s.end_port", path);
	if (portless && port->end_port)
		(void)error_add_violation(err, field, "not with ICMP, which has none");
	else if (port->end_port && !port->port)
		(void)error_add_violation(err, field, "needs port");
	else if (port->end_port && port->end_port < port->port)
		(void)error_add_violation(err, field,
					  "must be at least port, %" PRIu32 ", is %" PRIu32,
					  port->port, port->end_port);
}

static void read_port(Egress *egress, Sizes *at, const VmEgressPort *port, const char *path,
		      Error *err)
{
	EgressPort *to = &egress->ports[at->ports++];

	check_port(port, path, err);
	to->protocol = egress_protocol(port->protocol);
	to->first = (uint16_t)port->port;
	to->last = (uint16_t)(port->end_port ? port->end_port : port->port);
	if (!port->port)
		to->last = UINT16_MAX;
}

/* In lower case; one that is missing the tables have told of. */
static void read_name(Egress *egress, const char *name, const char *field, Error *err)
{
	const char *problem = text_equal(name, "") ? NULL : egress_name_check(name);
	char *copy = text_dup(name);

	if (problem)
		(void)error_add_violation(err, field, "%s", problem);
	text_lower(copy);
	egress->names[egress->name_count++] = copy;
}

static void read_rule(Egress *egress, Sizes *at, const VmEgressRule *rule, const char *path,
		      Error *err)
{
	EgressRule *to = &egress->rules[at->rules++];
	char field[FIELD_BYTES];

	to->to = &egress->blocks[at->blocks];
	to->to_count = rule->to.count;
	to->ports = &egress->ports[at->ports];
	to->port_count = rule->ports.count;
	to->names = (const char *const *)&egress->names[egress->name_count];
	to->name_count = rule->fqdn.count;
	for (size_t i = 0; i < rule->to.count; i++) {
		(void)text_append(field, field + sizeof field, "%s.to[%zu]", path, i);
		read_peer(egress, at, peer_at(rule, i), field, err);
	}
	for (size_t i = 0; i < rule->fqdn.count; i++) {
		(void)text_append(field, field + sizeof field, "%s.fqdn[%zu]", path, i);
		read_name(egress, rule->fqdn.items[i], field, err);
	}
	for (size_t i = 0; i < rule->ports.count; i++) {
		(void)text_append(field, field + sizeof field, "%s.ports[%zu]", path, i);
		read_port(egress, at, (const VmEgressPort *)rule->ports.items + i, field, err);
	}
}

int egress_read(Egress **ret, const VmEgressPolicy *policy, const char *path, Error *err)
{
	static const VmEgressPolicy nothing;
	cleanup_(egress_unrefp) Egress *egress = new0(Egress);
	Sizes sizes, at = { 0 };
	Error found = { 0 };

	atomic_init(&egress->refs, 1);
	if (!policy)
		policy = &nothing;
	sizes = sizes_of(policy);
	if (check_sizes(&sizes, path, err) < 0)
		return -1;
	egress->rules = new0_array(EgressRule, sizes.rules);
	egress->blocks = new0_array(EgressBlock, sizes.blocks);
	egress->exceptions = new0_array(Prefix, sizes.exceptions);
	egress->ports = new0_array(EgressPort, sizes.ports);
	egress->names = new0_array(char *, sizes.names);
	egress->policy = (EgressPolicy){ egress->rules, sizes.rules };
	for (size_t i = 0; i < sizes.rules; i++) {
		char field[FIELD_BYTES];

		(void)text_append(field, field + sizeof field, "%s.rules[%zu]", path, i);
		read_rule(egress, &at, rule_at(policy, i), field, &found);
	}
	if (error_is_set(&found)) {
		error_merge_violations(err, &found);
		return -1;
	}
	*ret = take_ptr(egress);
	return 0;
}

Egress *egress_ref(Egress *egress)
{
	atomic_fetch_add_explicit(&egress->refs, 1, memory_order_relaxed);
	return egress;
}

void egress_unref(Egress *egress)
{
	if (!egress || atomic_fetch_sub_explicit(&egress->refs, 1, memory_order_acq_rel) > 1)
		return;
	free(egress->rules);
	free(egress->blocks);
	free(egress->exceptions);
	free(egress->ports);
	for (size_t i = 0; i < egress->name_count; i++)
		free(egress->names[i]);
	free(egress->names);
	free(egress);
}

const EgressPolicy *egress_policy(const Egress *egress)
{
	return &egress->policy;
}

void egress_check(const VmEgressPolicy *policy, const char *path, Error *err)
{
	cleanup_(egress_unrefp) Egress *egress = NULL;

	(void)!egress_read(&egress, policy, path, err);
}

bool egress_has_names(const VmEgressPolicy *policy)
{
	for (size_t i = 0; policy && i < policy->rules.count; i++)
		if (rule_at(policy, i)->fqdn.count > 0)
			return true;
	return false;
}
