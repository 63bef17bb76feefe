/* SPDX-License-Identifier: Apache-2.0 */

/* Policies as specs have them, read into numbers. */

#include "base/text.h"
#include "runtime/egress.h"

#include <criterion/criterion.h>
#include <string.h>

static VmEgressPolicy *policy_of(const char *text)
{
	VmEgressPolicy *policy = new0(VmEgressPolicy);
	json_auto_t *json = json_loads(text, 0, NULL);

	cr_assert_not_null(json, "%s", text);
	cr_assert_eq(fields_from_json(&vm_egress_policy_table, policy, json), 0, "%s", text);
	return policy;
}

static void policy_free(VmEgressPolicy *policy)
{
	fields_clear(&vm_egress_policy_table, policy);
	free(policy);
}
DEFINE_CLEANUP(VmEgressPolicy *, policy_free);

/* Does the policy in @text allow @protocol to @port of @address? The rule's index, or -1. */
static int find(const char *text, uint8_t protocol, const char *address, uint16_t port)
{
	cleanup_(policy_freep) VmEgressPolicy *policy = policy_of(text);
	cleanup_(egress_unrefp) Egress *egress = NULL;
	EgressTarget target = { .protocol = protocol, .port = port };
	Error err = { 0 };

	cr_assert_eq(prefix_parse_address(&target.address, address), 0);
	cr_assert_eq(egress_read(&egress, policy, "policy", &err), 0, "%s", err.violations);
	return egress_policy_find(egress_policy(egress), NULL, 0, &target);
}

/* Everything that is wrong with the policy in @text. */
static void check(const char *text, Error *err)
{
	cleanup_(policy_freep) VmEgressPolicy *policy = policy_of(text);

	fields_check(&vm_egress_policy_table, policy, "policy", err);
	egress_check(policy, "policy", err);
}

static bool is_violated(const Error *err, const char *field)
{
	const char *at, *description;
	uint32_t walk = 0;

	while (error_next_violation(err, &walk, &at, &description))
		if (strcmp(at, field) == 0)
			return true;
	return false;
}

Test(egress, a_policy_that_is_unset_or_empty_allows_nothing)
{
	cleanup_(egress_unrefp) Egress *egress = NULL;
	Error err = { 0 };

	cr_assert_eq(egress_read(&egress, NULL, "policy", &err), 0);

	cr_assert_eq(egress_policy(egress)->count, 0);
	cr_assert_eq(find("{}", EGRESS_TCP, "10.0.0.1", 80), -1);
}

Test(egress, a_rule_without_peers_and_ports_allows_everything)
{
	cr_assert_eq(find("{\"rules\":[{}]}", EGRESS_SCTP, "2001:db8::1", 9), 0);
}

Test(egress, a_port_without_protocol_is_of_tcp)
{
	static const char text[] = "{\"rules\":[{\"ports\":[{\"port\":443}]}]}";

	cr_assert_eq(find(text, EGRESS_TCP, "10.0.0.1", 443), 0);
	cr_assert_eq(find(text, EGRESS_UDP, "10.0.0.1", 443), -1);
	cr_assert_eq(find(text, EGRESS_TCP, "10.0.0.1", 444), -1);
}

Test(egress, a_protocol_without_port_has_all_its_ports)
{
	static const char text[] = "{\"rules\":[{\"ports\":[{\"protocol\":\"udp\"}]}]}";

	cr_assert_eq(find(text, EGRESS_UDP, "10.0.0.1", 1), 0);
	cr_assert_eq(find(text, EGRESS_UDP, "10.0.0.1", 65535), 0);
	cr_assert_eq(find(text, EGRESS_TCP, "10.0.0.1", 1), -1);
}

Test(egress, a_range_has_both_its_ends)
{
	static const char text[] =
		"{\"rules\":[{\"ports\":[{\"protocol\":\"sctp\",\"port\":10,\"end_port\":20}]}]}";

	cr_assert_eq(find(text, EGRESS_SCTP, "10.0.0.1", 10), 0);
	cr_assert_eq(find(text, EGRESS_SCTP, "10.0.0.1", 20), 0);
	cr_assert_eq(find(text, EGRESS_SCTP, "10.0.0.1", 9), -1);
	cr_assert_eq(find(text, EGRESS_SCTP, "10.0.0.1", 21), -1);
}

Test(egress, icmp_is_icmpv6_at_addresses_of_ipv6)
{
	static const char text[] = "{\"rules\":[{\"ports\":[{\"protocol\":\"icmp\"}]}]}";

	cr_assert_eq(find(text, EGRESS_ICMP, "10.0.0.1", 0), 0);
	cr_assert_eq(find(text, EGRESS_ICMPV6, "2001:db8::1", 0), 0);
}

Test(egress, each_rule_has_the_peers_and_exceptions_that_are_its_own)
{
	static const char text[] =
		"{\"rules\":[{\"to\":[{\"cidr\":\"10.0.0.0/8\",\"except\":[\"10.1.0.0/16\"]}]},"
		"{\"to\":[{\"cidr\":\"192.0.2.0/24\"},"
		"{\"cidr\":\"2001:db8::/32\",\"except\":[\"2001:db8:1::/48\"]}]}]}";

	cr_assert_eq(find(text, EGRESS_TCP, "10.2.0.1", 80), 0);
	cr_assert_eq(find(text, EGRESS_TCP, "10.1.0.1", 80), -1);
	cr_assert_eq(find(text, EGRESS_TCP, "192.0.2.1", 80), 1);
	cr_assert_eq(find(text, EGRESS_TCP, "2001:db8::1", 80), 1);
	cr_assert_eq(find(text, EGRESS_TCP, "2001:db8:1::1", 80), -1);
}

Test(egress, each_bad_field_is_named)
{
	/* clang-format off */
	static const char *const rows[][2] = {
		{ "{\"to\":[{}]}", "policy.rules[0].to[0].cidr" },
		{ "{\"to\":[{\"cidr\":\"10.0.0.0\"}]}", "policy.rules[0].to[0].cidr" },
		{ "{\"to\":[{\"cidr\":\"10.0.0.0/33\"}]}", "policy.rules[0].to[0].cidr" },
		{ "{\"to\":[{\"cidr\":\"10.0.0.1/24\"}]}", "policy.rules[0].to[0].cidr" },
		{ "{\"to\":[{\"cidr\":\"all\"}]}", "policy.rules[0].to[0].cidr" },
		{ "{\"to\":[{\"cidr\":\"10.0.0.0/8\",\"except\":[\"11.0.0.0/16\"]}]}",
		  "policy.rules[0].to[0].except[0]" },
		{ "{\"to\":[{\"cidr\":\"10.0.0.0/8\",\"except\":[\"10.1.0.0/16\",\"10.1/16\"]}]}",
		  "policy.rules[0].to[0].except[1]" },
		{ "{\"to\":[{\"cidr\":\"10.0.0.0/8\",\"except\":[\"2001:db8::/32\"]}]}",
		  "policy.rules[0].to[0].except[0]" },
		{ "{\"to\":[{\"cidr\":\"10.0.0.0/16\",\"except\":[\"10.0.0.0/8\"]}]}",
		  "policy.rules[0].to[0].except[0]" },
		{ "{\"ports\":[{\"port\":70000}]}", "policy.rules[0].ports[0].port" },
		{ "{\"ports\":[{\"port\":1,\"end_port\":70000}]}", "policy.rules[0].ports[0].end_port" },
		{ "{\"ports\":[{\"port\":0,\"end_port\":80}]}", "policy.rules[0].ports[0].end_port" },
		{ "{\"ports\":[{\"port\":80,\"end_port\":79}]}", "policy.rules[0].ports[0].end_port" },
		{ "{\"ports\":[{\"protocol\":\"icmp\",\"port\":8}]}", "policy.rules[0].ports[0].port" },
		{ "{\"ports\":[{\"protocol\":\"icmp\",\"end_port\":8}]}",
		  "policy.rules[0].ports[0].end_port" },
		{ "{\"fqdn\":[\"\"]}", "policy.rules[0].fqdn[0]" },
		{ "{\"fqdn\":[\"a.org\",\"*\"]}", "policy.rules[0].fqdn[1]" },
		{ "{\"fqdn\":[\"*.\"]}", "policy.rules[0].fqdn[0]" },
		{ "{\"fqdn\":[\"*.*.org\"]}", "policy.rules[0].fqdn[0]" },
		{ "{\"fqdn\":[\"a*.org\"]}", "policy.rules[0].fqdn[0]" },
		{ "{\"fqdn\":[\"a..org\"]}", "policy.rules[0].fqdn[0]" },
		{ "{\"fqdn\":[\"a.org.\"]}", "policy.rules[0].fqdn[0]" },
		{ "{\"fqdn\":[\"-a.org\"]}", "policy.rules[0].fqdn[0]" },
		{ "{\"fqdn\":[\"https://a.org\"]}", "policy.rules[0].fqdn[0]" },
		{ "{\"fqdn\":[\"a.org:443\"]}", "policy.rules[0].fqdn[0]" },
		{ "{\"fqdn\":[\"b\\u00fccher.de\"]}", "policy.rules[0].fqdn[0]" },
		{ "{\"fqdn\":[\"192.0.2.1\"]}", "policy.rules[0].fqdn[0]" },
		{ "{\"fqdn\":[\"0123456789012345678901234567890123456789012345678901234567890123.org\"]}",
		  "policy.rules[0].fqdn[0]" },
	};
	/* clang-format on */

	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup_free char *text = text_printf("{\"rules\":[%s]}", rows[i][0]);
		Error err = { 0 };

		check(text, &err);

		cr_assert_eq(err.kind, ERROR_INVALID_REQUEST, "%s", text);
		cr_assert(is_violated(&err, rows[i][1]), "%s: %s", text, err.violations);
		cr_assert_eq(err.violation_count, 1, "%s: %s", text, err.violations);
	}
}

Test(egress, all_bad_fields_are_named_at_once)
{
	Error err = { 0 };

	check("{\"rules\":[{\"to\":[{\"cidr\":\"x\",\"except\":[\"y\"]}]},"
	      "{\"ports\":[{\"port\":5,\"end_port\":4},{\"port\":65536}]}]}",
	      &err);

	cr_assert_eq(err.violation_count, 4, "%s", err.violations);
	cr_assert(is_violated(&err, "policy.rules[0].to[0].cidr"));
	cr_assert(is_violated(&err, "policy.rules[0].to[0].except[0]"));
	cr_assert(is_violated(&err, "policy.rules[1].ports[0].end_port"));
	cr_assert(is_violated(&err, "policy.rules[1].ports[1].port"));
}

/* @each, @count times, as a list between @before and @after. */
static char *repeat(const char *before, const char *each, size_t count, const char *after)
{
	size_t length = strlen(before) + count * (strlen(each) + 1) + strlen(after) + 1;
	char *text = must_calloc(length, 1);
	char *at = stpcpy(text, before);

	for (size_t i = 0; i < count; i++)
		at = stpcpy(stpcpy(at, i ? "," : ""), each);
	(void)stpcpy(at, after);
	return text;
}

Test(egress, the_bounds_hold_for_all_rules_together)
{
	static const char block[] = "{\"cidr\":\"10.0.0.0/8\",\"except\":[\"10.1.0.0/16\"]}";
	cleanup_free char *rules = repeat("{\"rules\":[", "{}", EGRESS_RULES_MAX + 1, "]}");
	cleanup_free char *blocks =
		repeat("{\"rules\":[{\"to\":[", block, EGRESS_PREFIXES_MAX / 2, "]}]}");
	cleanup_free char *too_many =
		repeat("{\"rules\":[{\"to\":[", block, EGRESS_PREFIXES_MAX / 2 + 1, "]}]}");
	cleanup_free char *ports = repeat("{\"rules\":[{\"ports\":[", "{\"port\":1}",
					  EGRESS_PORTS_MAX, "]},{\"ports\":[{\"port\":1}]}]}");
	cleanup_free char *names = repeat("{\"rules\":[{\"fqdn\":[", "\"a.org\"", EGRESS_NAMES_MAX,
					  "]},{\"fqdn\":[\"a.org\"]}]}");
	const char *const bad[] = { rules, too_many, ports, names };
	Error none = { 0 };

	check(blocks, &none);
	cr_assert_not(error_is_set(&none), "%s", none.violations);
	for (size_t i = 0; i < array_size(bad); i++) {
		Error err = { 0 };

		check(bad[i], &err);

		cr_assert(is_violated(&err, "policy.rules"), "%zu", i);
	}
}

Test(egress, rules_that_allow_names_are_told_apart)
{
	cleanup_(policy_freep) VmEgressPolicy *with =
		policy_of("{\"rules\":[{},{\"fqdn\":[\"example.org\"]}]}");
	cleanup_(policy_freep) VmEgressPolicy *without = policy_of("{\"rules\":[{}]}");

	cr_assert(egress_has_names(with));
	cr_assert_not(egress_has_names(without));
	cr_assert_not(egress_has_names(NULL));
}

Test(egress, names_are_exact_or_all_that_end_with_one)
{
	static const struct {
		const char *name;
		int rule;
	} rows[] = {
		{ "example.org", 1 },
		{ "www.example.org", -1 },
		{ "xexample.org", -1 },
		{ "a.example.net", 2 },
		{ "a.b.example.net", 2 },
		{ "example.net", -1 },
		{ "aexample.net", -1 },
		{ "org", -1 },
		{ "", -1 },
		{ "_srv.example.net", 2 },
	};
	cleanup_(policy_freep) VmEgressPolicy *policy =
		policy_of("{\"rules\":[{},{\"fqdn\":[\"Example.ORG\"]},"
			  "{\"fqdn\":[\"other.net\",\"*.example.net\"]}]}");
	cleanup_(egress_unrefp) Egress *egress = NULL;
	Error err = { 0 };

	cr_assert_eq(egress_read(&egress, policy, "policy", &err), 0, "%s", err.what);
	for (size_t i = 0; i < array_size(rows); i++)
		cr_expect_eq(egress_policy_find_name(egress_policy(egress), rows[i].name, NULL),
			     rows[i].rule, "%s", rows[i].name);
}

Test(egress, a_rule_with_names_alone_allows_no_address_by_itself)
{
	cr_assert_eq(
		find("{\"rules\":[{\"fqdn\":[\"example.org\"]}]}", EGRESS_TCP, "192.0.2.1", 80),
		-1);
	cr_assert_eq(find("{\"rules\":[{\"to\":[{\"cidr\":\"192.0.2.0/24\"}],"
			  "\"fqdn\":[\"example.org\"]}]}",
			  EGRESS_TCP, "192.0.2.1", 80),
		     0);
}
