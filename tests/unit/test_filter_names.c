/* SPDX-License-Identifier: Apache-2.0 */

/* What names open in the filter: for whom, for how long, and what ends it. */

#include "base/clock.h"
#include "netfw/filter_private.h"
#include "tests/unit/filter_fixture.h"

enum {
	TCP = 6,
	HOUR = 3600,
	OVER_A_SECOND_US = 1100000,
};

#define HOST "198.51.100.7" /* where no block of the policies here is */
#define HOST6 "2001:db8:7::7"

static const char *const web_names[] = { "example.org", "*.example.net" };
static const EgressPort web_ports[] = { { EGRESS_TCP, 443, 443 } };
static const EgressRule web = {
	.names = web_names, .name_count = 2, .ports = web_ports, .port_count = 1
};

static FilterTable *table_of(const EgressRule *rules, size_t count)
{
	static const Prefix denied[] = { { 4, 24, { 203, 0, 113 } } };
	const EgressPolicy policy = { rules, count };
	FilterTable *table = NULL;
	Error err = { 0 };

	cr_assert_eq(filter_table_new(&table, &policy, denied, 1, &err), 0, "%s", err.what);
	return table;
}

static void set_rules(uint32_t index, const EgressRule *rules, size_t count)
{
	cleanup_(filter_table_freep) FilterTable *table = table_of(rules, count);
	Error err = { 0 };

	cr_assert_eq(filter_set_policy(bench.filter, bench.taps[index], table, &err), 0, "%s",
		     err.what);
}

static void add_vm(uint32_t index, const EgressRule *rules, size_t count)
{
	cleanup_(filter_table_freep) FilterTable *table = table_of(rules, count);
	FilterVm vm = filter_bench_vm(&bench, index);
	Error err = { 0 };

	cr_assert_eq(filter_add_vm(bench.filter, &vm, table, &err), 0, "%s", err.what);
}

static void open_web(void)
{
	open_bench();
	set_rules(0, &web, 1);
}

TestSuite(filter_names, .init = open_web, .fini = close_bench);

static int try_pin(const char *name, const char *text, uint32_t ttl, Error *err)
{
	Prefix address;

	cr_assert_eq(prefix_parse_address(&address, text), 0);
	return filter_pin(bench.filter, bench.taps[0], &(NameLead){ name, &address, 1, ttl }, err);
}

static void pin(const char *name, const char *text, uint32_t ttl)
{
	Error err = { 0 };

	cr_assert_eq(try_pin(name, text, ttl, &err), 0, "%s", err.what);
}

static void refuse(const char *name, const char *text, const char *why)
{
	Error err = { 0 };

	cr_assert_eq(try_pin(name, text, HOUR, &err), -1, "%s", text);
	cr_assert_eq(err.cause, CAUSE_INPUT, "%s", text);
	cr_assert(strstr(err.what, why), "%s", err.what);
}

static void expect_tcp(const char *what, const char *target, uint16_t from, uint16_t port,
		       int verdict)
{
	const FrameSpec spec = { .target = target,
				 .protocol = TCP,
				 .source_port = from,
				 .target_port = port,
				 .tcp = FRAME_TCP_SYN };

	(void)expect_spec(what, &spec, verdict);
}

static size_t count_entries(FilterMap map)
{
	struct filter_name_key key, next; /* the larger of the two keys */
	size_t count = 0;

	while (count < FILTER_PINS_MAX &&
	       bpf_map_get_next_key(bench.filter->maps[map], count ? &key : NULL, &next) == 0) {
		key = next;
		count++;
	}
	return count;
}

static void reopen(void)
{
	const FilterConfig config = { FILTER_BENCH_PINS, FILTER_BENCH_VMS };
	Error err = { 0 };

	filter_close(bench.filter);
	bench.filter = NULL;
	cr_assert_eq(filter_open(&bench.filter, &config, &err), 0, "%s", err.what);
}

Test(filter_names, an_address_is_reached_once_its_name_has_led_there)
{
	expect_tcp("before", HOST, 1, 443, FILTER_DROP_POLICY);
	pin("example.org", HOST, HOUR);
	pin("www.example.net", HOST6, HOUR);

	expect_tcp("after", HOST, 1, 443, FILTER_PASS_NAME);
	expect_tcp("a flow", HOST, 1, 443, FILTER_PASS_FLOW);
	expect_tcp("another port", HOST, 1, 80, FILTER_DROP_POLICY);
	expect_tcp("its neighbour", "198.51.100.8", 1, 443, FILTER_DROP_POLICY);
	expect_tcp("IPv6", HOST6, 1, 443, FILTER_PASS_NAME);
}

Test(filter_names, another_vm_of_the_same_policy_is_not_led_there)
{
	const FrameSpec spec = { .target = HOST, .protocol = TCP, .target_port = 443 };
	Frame frame = frame_make(&spec);

	add_vm(1, &web, 1);
	pin("example.org", HOST, HOUR);

	cr_assert_eq(filter_bench_run(&bench, bench.taps[1], false, &frame).verdict,
		     FILTER_DROP_POLICY);
	cr_assert_eq(filter_bench_run(&bench, bench.taps[0], false, &frame).verdict,
		     FILTER_PASS_NAME);
}

Test(filter_names, what_no_name_may_lead_to_is_refused)
{
	static const char *const internal[] = {
		"127.0.0.1",  "10.0.0.1",        "169.254.169.254", "192.168.1.1",
		"172.31.0.1", "100.64.0.1",      "0.0.0.0",         "224.0.0.1",
		"::1",        "::ffff:10.0.0.1", "fd00::1",         "fe80::1",
		"ff02::1",    "64:ff9b::a00:1",
	};

	for (size_t i = 0; i < array_size(internal); i++)
		refuse("example.org", internal[i], "no name may lead");
	refuse("example.org", "203.0.113.9", "no name may lead");
	refuse("example.com", HOST, "no rule allows example.com");
	refuse("example.net", HOST, "no rule allows example.net");
	cr_assert_eq(count_entries(FILTER_MAP_PINS) + count_entries(FILTER_MAP_NAMES), 0);
}

Test(filter_names, one_bad_address_refuses_all)
{
	Prefix addresses[2];
	Error err = { 0 };

	cr_assert_eq(prefix_parse_address(&addresses[0], HOST), 0);
	cr_assert_eq(prefix_parse_address(&addresses[1], "10.0.0.1"), 0);
	cr_assert_eq(filter_pin(bench.filter, bench.taps[0],
				&(NameLead){ "example.org", addresses, 2, HOUR }, &err),
		     -1);

	expect_tcp("the good one", HOST, 1, 443, FILTER_DROP_POLICY);
}

Test(filter_names, an_internal_address_that_a_block_has_is_left_to_it)
{
	static const EgressBlock block = { { 4, 32, { 10, 0, 0, 1 } }, NULL, 0 };
	static const EgressPort ssh = { EGRESS_TCP, 22, 22 };
	const EgressRule rules[] = {
		web, { .to = &block, .to_count = 1, .ports = &ssh, .port_count = 1 }
	};

	set_rules(0, rules, 2);
	pin("example.org", "10.0.0.1", HOUR);

	expect_tcp("by its block", "10.0.0.1", 1, 22, FILTER_PASS_POLICY);
	expect_tcp("by its name", "10.0.0.1", 1, 443, FILTER_DROP_POLICY);
}

Test(filter_names, names_of_one_address_are_united)
{
	static const char *const other[] = { "other.org" };
	static const EgressPort ssh = { EGRESS_TCP, 22, 22 };
	const EgressRule rules[] = {
		web, { .names = other, .name_count = 1, .ports = &ssh, .port_count = 1 }
	};

	set_rules(0, rules, 2);
	pin("example.org", HOST, HOUR);
	expect_tcp("one name", HOST, 1, 22, FILTER_DROP_POLICY);
	pin("other.org", HOST, HOUR);

	expect_tcp("the other's port", HOST, 1, 22, FILTER_PASS_NAME);
	expect_tcp("the first one's", HOST, 1, 443, FILTER_PASS_NAME);
	set_rules(0, rules + 1, 1);
	expect_tcp("without the first rule", HOST, 1, 443, FILTER_DROP_POLICY);
	expect_tcp("with the other", HOST, 1, 22, FILTER_PASS_FLOW);
}

Test(filter_names, more_ports_than_one_rule_holds)
{
	EgressPort ports[FILTER_PIN_PARTS * FILTER_RANGES + 1];
	EgressRule rule = { .names = web_names, .name_count = 1, .ports = ports };
	FilterTable *table = NULL;
	Error err = { 0 };

	for (size_t i = 0; i < array_size(ports); i++)
		ports[i] =
			(EgressPort){ EGRESS_TCP, (uint16_t)(10 * i + 1), (uint16_t)(10 * i + 1) };
	rule.port_count = array_size(ports) - 1;
	set_rules(0, &rule, 1);
	pin("example.org", HOST, HOUR);
	for (size_t i = 0; i < rule.port_count; i++) {
		expect_tcp("each", HOST, 1, ports[i].first, FILTER_PASS_NAME);
		expect_tcp("none other", HOST, 1, (uint16_t)(ports[i].first + 1),
			   FILTER_DROP_POLICY);
	}
	set_rules(0, &web, 1);
	cr_assert_eq(count_entries(FILTER_MAP_PINS), 1);
	rule.port_count++;
	cr_assert_eq(filter_table_new(&table, &(EgressPolicy){ &rule, 1 }, NULL, 0, &err), -1);
	cr_assert_eq(err.cause, CAUSE_INPUT);
	cr_assert(strstr(err.what, "25 ranges of ports"), "%s", err.what);
}

Test(filter_names, a_policy_without_the_name_ends_its_flows)
{
	static const EgressRule nothing = { .names = web_names + 1, .name_count = 1 };

	pin("example.org", HOST, HOUR);
	expect_tcp("begun", HOST, 1, 443, FILTER_PASS_NAME);
	set_rules(0, &web, 1);
	expect_tcp("the same policy", HOST, 1, 443, FILTER_PASS_FLOW);
	set_rules(0, &nothing, 1);

	expect_tcp("revoked", HOST, 1, 443, FILTER_DROP_POLICY);
	set_rules(0, &web, 1);
	expect_tcp("allowed anew, but not resolved", HOST, 1, 443, FILTER_DROP_POLICY);
}

Test(filter_names, the_next_agent_finds_them_with_their_flows)
{
	pin("example.org", HOST, HOUR);
	expect_tcp("begun", HOST, 1, 443, FILTER_PASS_NAME);
	reopen();
	expect_tcp("until it has looked", HOST, 1, 443, FILTER_PASS_FLOW);
	expect_tcp("another", HOST, 2, 443, FILTER_PASS_NAME);
	add_vm(0, &web, 1);

	expect_tcp("taken up", HOST, 1, 443, FILTER_PASS_FLOW);
	expect_tcp("a third", HOST, 3, 443, FILTER_PASS_NAME);
	set_rules(0, &(EgressRule){ .names = web_names + 1, .name_count = 1 }, 1);
	expect_tcp("revoked by the next agent", HOST, 1, 443, FILTER_DROP_POLICY);
}

Test(filter_names, what_was_a_vms_that_is_gone_is_not_the_next_ones)
{
	Error err = { 0 };

	pin("example.org", HOST, HOUR);
	cr_assert_eq(filter_remove_vm(bench.filter, bench.taps[0], &err), 0);
	cr_assert_eq(count_entries(FILTER_MAP_PINS) + count_entries(FILTER_MAP_NAMES), 0);
	add_vm(0, &web, 1);
	expect_tcp("the next one's", HOST, 1, 443, FILTER_DROP_POLICY);
	pin("example.org", HOST, HOUR);
	/* As if the agent had died in the middle of it. */
	cr_assert_eq(bpf_map_delete_elem(bench.filter->maps[FILTER_MAP_VMS], &bench.taps[0]), 0);
	reopen();
	cr_assert_eq(count_entries(FILTER_MAP_PINS) + count_entries(FILTER_MAP_NAMES), 0);
}

Test(filter_names, past_its_time_no_flow_begins_and_those_there_go_on)
{
	pin("example.org", HOST, 1);
	pin("example.org", "198.51.100.8", 1);
	expect_tcp("begun", HOST, 1, 443, FILTER_PASS_NAME);
	pin("example.org", HOST, 0);
	expect_tcp("not shortened", HOST, 2, 443, FILTER_PASS_NAME);
	clock_sleep_us(OVER_A_SECOND_US);

	expect_tcp("another one", HOST, 3, 443, FILTER_DROP_POLICY);
	expect_tcp("the one there is", HOST, 1, 443, FILTER_PASS_FLOW);
	expect_tcp("without flows", "198.51.100.8", 1, 443, FILTER_DROP_POLICY);
	filter_tend(bench.filter);
	set_rules(0, &web, 1);
	expect_tcp("after a change", HOST, 1, 443, FILTER_PASS_FLOW);
	cr_assert_eq(count_entries(FILTER_MAP_NAMES), 1);
	cr_assert_eq(count_entries(FILTER_MAP_PINS), 1);
}

Test(filter_names, one_vm_keeps_those_that_last_longest)
{
	char text[PREFIX_TEXT_MAX];

	pin("example.org", HOST, 100);
	pin("example.org", "198.51.100.8", HOUR);
	for (int i = 0; i < FILTER_VM_PINS - 1; i++) {
		(void)snprintf(text, sizeof text, "2001:db8::%x", i + 1);
		pin("example.org", text, HOUR);
	}

	cr_assert_eq(count_entries(FILTER_MAP_NAMES), FILTER_VM_PINS);
	cr_assert_eq(count_entries(FILTER_MAP_PINS), FILTER_VM_PINS);
	expect_tcp("the one that would have ended first", HOST, 1, 443, FILTER_DROP_POLICY);
	expect_tcp("another", "198.51.100.8", 1, 443, FILTER_PASS_NAME);
}

typedef struct Told {
	size_t count;
	char name[64], address[PREFIX_TEXT_MAX];
	int64_t seconds;
} Told;

static void note(void *user, const char *name, const Prefix *address, int64_t seconds)
{
	Told *told = user;

	told->count++;
	(void)snprintf(told->name, sizeof told->name, "%s", name);
	(void)prefix_format(address, told->address);
	told->seconds = seconds;
}

Test(filter_names, they_can_be_listed)
{
	Told told = { 0 };

	filter_each_pin(bench.filter, bench.taps[0], note, &told);
	cr_assert_eq(told.count, 0);
	pin("a.b.example.net", HOST6, HOUR);
	filter_each_pin(bench.filter, bench.taps[0], note, &told);

	cr_assert_eq(told.count, 1);
	cr_assert_str_eq(told.name, "a.b.example.net");
	cr_assert_str_eq(told.address, HOST6 "/128");
	cr_assert_geq(told.seconds, HOUR - 2);
	cr_assert_leq(told.seconds, HOUR);
}
