/* SPDX-License-Identifier: Apache-2.0 */
#include "netfw/iptables_rules.h"

#include "base/text.h"
#include "base/words.h"

#include <assert.h>
#include <string.h>

enum {
	SLOTS = 15, /* of a multiport match; a range takes two */
	MATCH_MAX = 160,
	NO_CHAIN = -1,
};

static const char *const protocols[] = {
	[EGRESS_TCP] = "tcp",
	[EGRESS_UDP] = "udp",
	[EGRESS_SCTP] = "sctp",
};

typedef struct Writer {
	FILE *to;
	uint8_t family;
	const IptablesInput *input;
	char root[IPTABLES_CHAIN_MAX];
	size_t rules, chains;
	Words matches;      /* of the ports of the rule in the making */
	long matches_chain; /* its number, if they have one of their own */
} Writer;

const char *iptables_rules_chain(const char *root, size_t number,
				 char ret[static IPTABLES_CHAIN_MAX])
{
	(void)text_append(ret, ret + IPTABLES_CHAIN_MAX, "%s-%04zx", root, number);
	return ret;
}

static void add(Writer *writer, const char *format, ...) printf_like(2, 3);

static void add(Writer *writer, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)fputs("-A ", writer->to);
	(void)vfprintf(writer->to, format, ap);
	(void)fputc('\n', writer->to);
	va_end(ap);
	writer->rules++;
}

static int compare_ports(const void *a, const void *b)
{
	const EgressPort *x = a, *y = b;

	return (int)x->first - (int)y->first;
}

/* The ports of @protocol, sorted and united; to free. */
static EgressPort *ports_of(const EgressRule *rule, uint8_t protocol, size_t *count)
{
	EgressPort *ports = new0_array(EgressPort, rule->port_count);
	size_t found = 0, kept = 0;

	for (size_t i = 0; i < rule->port_count; i++)
		if (rule->ports[i].protocol == protocol || rule->ports[i].protocol == EGRESS_ANY)
			ports[found++] = rule->ports[i];
	qsort(ports, found, sizeof *ports, compare_ports);
	for (size_t i = 0; i < found; i++) {
		EgressPort *last = kept ? &ports[kept - 1] : NULL;

		if (!last || ports[i].first > last->last + 1)
			ports[kept++] = ports[i];
		else if (ports[i].last > last->last)
			last->last = ports[i].last;
	}
	*count = kept;
	return ports;
}

/* All matches of ports that @protocol needs. */
static void match_ports(Words *matches, const EgressRule *rule, uint8_t protocol)
{
	const char *name = protocols[protocol];
	char match[MATCH_MAX], *at = match;
	const char *end = match + sizeof match;
	size_t count, used = 0;
	cleanup_free EgressPort *ports = ports_of(rule, protocol, &count);

	if (count && ports[0].first == 0) {
		(void)text_append(match, end, " -p %s", name);
		words_add(matches, match);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		size_t slots = ports[i].first == ports[i].last ? 1 : 2;

		if (used + slots > SLOTS) {
			words_add(matches, match);
			used = 0;
		}
		at = used ? text_append(at, end, ",")
			  : text_append(match, end, " -p %s -m multiport --dports ", name);
		at = slots == 1 ? text_append(at, end, "%u", ports[i].first)
				: text_append(at, end, "%u:%u", ports[i].first, ports[i].last);
		used += slots;
	}
	if (used)
		words_add(matches, match);
}

/* Whatever the packet's protocol? */
static bool has_any(const EgressRule *rule)
{
	for (size_t i = 0; i < rule->port_count; i++)
		if (rule->ports[i].protocol == EGRESS_ANY && rule->ports[i].first == 0)
			return true;
	return rule->port_count == 0;
}

static bool has_icmp(const EgressRule *rule)
{
	for (size_t i = 0; i < rule->port_count; i++)
		if (rule->ports[i].protocol == EGRESS_ICMP && rule->ports[i].first == 0)
			return true;
	return false;
}

static void match_rule(Writer *writer, const EgressRule *rule)
{
	words_clear(&writer->matches);
	writer->matches = (Words){ 0 };
	writer->matches_chain = NO_CHAIN;
	if (has_any(rule)) {
		words_add(&writer->matches, "");
		return;
	}
	if (has_icmp(rule))
		words_add(&writer->matches, writer->family == 4 ? " -p icmp" : " -p ipv6-icmp");
	match_ports(&writer->matches, rule, EGRESS_TCP);
	match_ports(&writer->matches, rule, EGRESS_UDP);
	match_ports(&writer->matches, rule, EGRESS_SCTP);
}

/* In @chain, what goes to @where ("" or " -d ...") is accepted if the rule's ports match. */
static void accept(Writer *writer, const char *chain, const char *where)
{
	char of_ports[IPTABLES_CHAIN_MAX];

	if (writer->matches.count == 1) {
		add(writer, "%s%s%s -j ACCEPT", chain, where, writer->matches.items[0]);
		return;
	}
	if (writer->matches_chain == NO_CHAIN) {
		writer->matches_chain = (long)writer->chains++;
		iptables_rules_chain(writer->root, (size_t)writer->matches_chain, of_ports);
		for (size_t i = 0; i < writer->matches.count; i++)
			add(writer, "%s%s -j ACCEPT", of_ports, writer->matches.items[i]);
	}
	iptables_rules_chain(writer->root, (size_t)writer->matches_chain, of_ports);
	add(writer, "%s%s -j %s", chain, where, of_ports);
}

/* Is @denied denied in a block that is @cidr? NULL: that of a rule that names none. */
static bool excludes(const Writer *writer, const Prefix *denied, const Prefix *cidr)
{
	if (denied->family != writer->family)
		return false;
	return !cidr || (prefix_contains(cidr, denied) && !prefix_contains(denied, cidr));
}

static size_t count_excluded(const Writer *writer, const EgressBlock *block, const Prefix *cidr)
{
	size_t count = block->except_count;

	for (size_t i = 0; i < writer->input->denied_count; i++)
		count += excludes(writer, &writer->input->denied[i], cidr);
	return count;
}

static void exclude(Writer *writer, const char *chain, const Prefix *prefix)
{
	char text[PREFIX_TEXT_MAX];

	if (prefix->family == writer->family)
		add(writer, "%s -d %s -j RETURN", chain, prefix_format(prefix, text));
}

/* @cidr: the block's, or NULL where the rule names none. */
static void write_block(Writer *writer, const EgressBlock *block, const Prefix *cidr)
{
	char chain[IPTABLES_CHAIN_MAX], text[PREFIX_TEXT_MAX], where[PREFIX_TEXT_MAX + 4];

	if (block->cidr.family != writer->family)
		return;
	(void)text_append(where, where + sizeof where, " -d %s", prefix_format(&block->cidr, text));
	if (count_excluded(writer, block, cidr) == 0) {
		accept(writer, writer->root, where);
		return;
	}
	iptables_rules_chain(writer->root, writer->chains++, chain);
	add(writer, "%s%s -j %s", writer->root, where, chain);
	for (size_t i = 0; i < block->except_count; i++)
		exclude(writer, chain, &block->except[i]);
	for (size_t i = 0; i < writer->input->denied_count; i++)
		if (excludes(writer, &writer->input->denied[i], cidr))
			exclude(writer, chain, &writer->input->denied[i]);
	accept(writer, chain, "");
}

static void write_rule(Writer *writer, const EgressRule *rule)
{
	const EgressBlock everywhere = { .cidr.family = writer->family };

	match_rule(writer, rule);
	if (writer->matches.count == 0)
		return;
	if (egress_rule_is_everywhere(rule))
		write_block(writer, &everywhere, NULL);
	for (size_t i = 0; i < rule->to_count && writer->rules <= IPTABLES_RULES_MAX; i++)
		write_block(writer, &rule->to[i], &rule->to[i].cidr);
}

/*
 * What IPv6 cannot do without: neighbours, asked for and answered, from a
 * link-local address or from none, too. Routers lower the hop limit, so that
 * none of it is forwarded.
 */
static void write_neighbours(Writer *writer, const char *address)
{
	static const char from[] =
		"%s -s %s -p ipv6-icmp -m icmp6 --icmpv6-type %d -m hl --hl-eq 255 -j ACCEPT";
	static const int solicitation = 135, advertisement = 136;
	const char *const sources[] = { "fe80::/10", address };

	/* Somebody who asks whether an address is free has none yet. */
	add(writer, from, writer->root, "::/128", solicitation);
	for (size_t i = 0; i < array_size(sources); i++) {
		add(writer, from, writer->root, sources[i], solicitation);
		add(writer, from, writer->root, sources[i], advertisement);
	}
}

/* Replies are not taken from what the VM has begun itself: that is asked for anew. */
static void write_before(Writer *writer, const Prefix *address)
{
	char text[PREFIX_TEXT_MAX];

	prefix_format(address, text);
	if (writer->family == 6)
		write_neighbours(writer, text);
	add(writer, "%s ! -s %s -j DROP", writer->root, text);
	add(writer, "%s -m conntrack --ctstate RELATED,ESTABLISHED --ctdir REPLY -j ACCEPT",
	    writer->root);
}

static void write_chain(Writer *writer)
{
	const IptablesVm *vm = writer->input->vm;
	const EgressPolicy *policy = writer->input->policy;
	const Prefix *address = writer->family == 4 ? &vm->address4 : &vm->address6;

	add(writer, "%s -m comment --comment %s", writer->root, vm->id);
	if (address->length > 0) {
		write_before(writer, address);
		for (size_t i = 0; i < policy->count && writer->rules <= IPTABLES_RULES_MAX; i++)
			write_rule(writer, &policy->rules[i]);
	}
	add(writer, "%s -j DROP", writer->root);
}

int iptables_rules_write(IptablesRules *ret, uint8_t family, const IptablesInput *input, Error *err)
{
	Writer writer = { .family = family, .input = input };
	cleanup_free char *text = NULL;
	size_t size;

	iptables_chain(input->vm->id, writer.root);
	writer.to = open_memstream(&text, &size);
	assert(writer.to);
	write_chain(&writer);
	words_clear(&writer.matches);
	if (fclose(writer.to) != 0)
		return error_set_errno(err, ERROR_FIREWALL, errno, "write rules");
	if (writer.rules > IPTABLES_RULES_MAX)
		return error_set_cause(err, ERROR_FIREWALL, CAUSE_INPUT,
				       "the policy needs more than %d rules of iptables",
				       IPTABLES_RULES_MAX);
	*ret = (IptablesRules){ take_ptr(text), writer.chains };
	return 0;
}

void iptables_rules_clear(IptablesRules *rules)
{
	free(rules->text);
	*rules = (IptablesRules){ 0 };
}
