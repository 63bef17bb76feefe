/* SPDX-License-Identifier: Apache-2.0 */

/* The rules between a spec's fields, and those of texts with a form of their own. */

#include "base/text.h"
#include "runtime/spec.h"
#include "tests/support/spec_text.h"

#include <criterion/criterion.h>
#include <string.h>

/* What is wrong with @text, "field: words" each, parted by "; ". */
static void check_words(const char *text, const char *words)
{
	cleanup_(spec_unrefp) VmSpec *spec = spec_from_text(text);
	Error err = { 0 };
	int r = spec_check(spec, &err);

	cr_assert_eq(r, *words ? -1 : 0, "%s: %s", text, err.what);
	cr_assert_str_eq(err.what, words, "%s", text);
}

/* Of @text only @field is wrong. */
static void check_field(const char *text, const char *field)
{
	cleanup_(spec_unrefp) VmSpec *spec = spec_from_text(text);
	const char *name, *words;
	Error err = { 0 };
	uint32_t walk = 0;

	cr_assert_eq(spec_check(spec, &err), -1, "%s", text);
	cr_assert_eq(err.kind, ERROR_INVALID_REQUEST);
	cr_assert_eq(err.violation_count, 1, "%s: %s", text, err.what);
	cr_assert(error_next_violation(&err, &walk, &name, &words));
	cr_assert_str_eq(name, field, "%s", text);
}

#define MACHINE(members) "{\"machine\": {" members "}}"

Test(spec_check, machines_that_cannot_be_are_named)
{
	/* clang-format off */
	static const char *const bad[][2] = {
		{ MACHINE("\"smt\": true, \"vcpus\": 3"), "spec.machine.vcpus" },
		{ MACHINE("\"smt\": true, \"vcpus\": 31"), "spec.machine.vcpus" },
		{ MACHINE("\"huge_pages\": \"2m\", \"memory_mib\": 129"), "spec.machine.memory_mib" },
		{ MACHINE("\"huge_pages\": \"transparent\", \"memory_mib\": 129"), "spec.machine.memory_mib" },
		{ MACHINE("\"cpu_template\": \"t2\", \"cpu_config\": \"{}\""), "spec.machine.cpu_config" },
		{ MACHINE("\"cpu_config\": \"[]\""), "spec.machine.cpu_config" },
		{ MACHINE("\"cpu_config\": \"{\""), "spec.machine.cpu_config" },
		{ MACHINE("\"cpu_config\": \"{} {}\""), "spec.machine.cpu_config" },
		{ MACHINE("\"cpu_config\": \"{\\\"a\\\": 1, \\\"a\\\": 1}\""), "spec.machine.cpu_config" },
	};
	static const char *const good[] = {
		MACHINE("\"smt\": true"),
		MACHINE("\"smt\": true, \"vcpus\": 1"),
		MACHINE("\"smt\": true, \"vcpus\": 32"),
		MACHINE("\"smt\": false, \"vcpus\": 3"),
		MACHINE("\"huge_pages\": \"2m\""),
		MACHINE("\"huge_pages\": \"2m\", \"memory_mib\": 130"),
		MACHINE("\"huge_pages\": \"transparent\", \"memory_mib\": 130"),
		MACHINE("\"huge_pages\": \"none\", \"memory_mib\": 129"),
		MACHINE("\"cpu_template\": \"v1n1\", \"cpu_config\": \"\""),
		MACHINE("\"cpu_config\": \"{\\\"a\\\": [1]}\", \"track_dirty_pages\": true"),
	};
	/* clang-format on */

	for (size_t i = 0; i < array_size(bad); i++)
		check_field(bad[i][0], bad[i][1]);
	for (size_t i = 0; i < array_size(good); i++)
		check_words(good[i], "");
}

/* One interface after a good one, with @mac. */
static char *spec_with_mac(const char *mac)
{
	return text_printf("{\"network_interfaces\": [{\"interface_id\": \"a\"},"
			   " {\"interface_id\": \"b\", \"guest_mac\": \"%s\"}]}",
			   mac);
}

Test(spec_check, addresses_of_interfaces_are_those_of_one_card)
{
	static const char *const bad[] = {
		"00:00:00:00:00:00", /* nobody's */
		"01:00:5e:00:00:01", /* of a group */
		"ff:ff:ff:ff:ff:ff", /* everybody's */
		"02:00:00:00:00:0",  /* short */
		"02:00:00:00:00:001", "02-00-00-00-00-01", "02:00:00:00:00001", "0200:00:00:00:001",
		":02:00:00:00:00:0",  "2:000:00:00:00:01", "02:00:00:00:00:0g", "02::00:00:00:0001",
	};
	static const char *const good[] = { "02:00:00:00:00:01", "fe:FF:ff:Ff:ff:ff",
					    "00:00:00:00:00:01", "" };

	for (size_t i = 0; i < array_size(bad); i++) {
		cleanup_(spec_unrefp) VmSpec *spec = NULL;
		cleanup_free char *text = spec_with_mac(bad[i]);
		const char *name, *words;
		Error err = { 0 };
		uint32_t walk = 0;

		spec = spec_from_text(text);
		cr_assert_eq(spec_check(spec, &err), -1, "%s", bad[i]);
		while (error_next_violation(&err, &walk, &name, &words))
			cr_assert_str_eq(name, "spec.network_interfaces[1].guest_mac", "%s",
					 bad[i]);
	}
	for (size_t i = 0; i < array_size(good); i++) {
		cleanup_free char *text = spec_with_mac(good[i]);

		check_words(text, "");
	}
}

Test(spec_check, no_two_interfaces_have_one_address)
{
	check_field("{\"network_interfaces\": [{\"interface_id\": \"a\"},"
		    " {\"interface_id\": \"b\", \"guest_mac\": \"02:00:00:00:0a:0B\"},"
		    " {\"interface_id\": \"c\", \"guest_mac\": \"02:00:00:00:0A:0b\"}]}",
		    "spec.network_interfaces[2].guest_mac");

	check_words("{\"network_interfaces\": [{\"interface_id\": \"a\"},"
		    " {\"interface_id\": \"b\"}, {\"interface_id\": \"c\","
		    " \"guest_mac\": \"02:00:00:00:00:01\"}, {\"interface_id\": \"d\","
		    " \"guest_mac\": \"02:00:00:00:00:02\"}]}",
		    "");
}

Test(spec_check, sockets_have_an_address_that_is_a_guests)
{
	check_field("{\"devices\": {\"vsock\": {\"guest_cid\": 2}}}",
		    "spec.devices.vsock.guest_cid");
	check_field("{\"devices\": {\"vsock\": {\"guest_cid\": 4294967295}}}",
		    "spec.devices.vsock.guest_cid");

	check_words("{\"devices\": {\"vsock\": {}}}", "");
	check_words("{\"devices\": {\"vsock\": {\"guest_cid\": 3}}}", "");
	check_words("{\"devices\": {\"vsock\": {\"guest_cid\": 4294967294}}}", "");
}

#define WITH_MMDS(interface, mmds)                                                           \
	"{\"network_interfaces\": [{\"interface_id\": \"a\", " interface "}], \"devices\": " \
	"{\"mmds\": {" mmds "}}}"
#define ADDRESS(address) WITH_MMDS("\"mmds\": true", "\"ipv4_address\": \"" address "\"")
#define CONTENT(content) WITH_MMDS("\"mmds\": true", "\"content\": \"" content "\"")

Test(spec_check, metadata_and_its_interfaces_belong_together)
{
	/* clang-format off */
	static const char *const bad[][2] = {
		{ "{\"devices\": {\"mmds\": {}}}", "spec.devices.mmds" },
		{ WITH_MMDS("\"mtu\": 1400", ""), "spec.devices.mmds" },
		{ "{\"network_interfaces\": [{\"interface_id\": \"a\"}, {\"interface_id\": \"b\", \"mmds\": true}]}",
		  "spec.network_interfaces[1].mmds" },
		{ CONTENT("[1]"), "spec.devices.mmds.content" },
		{ CONTENT("not JSON"), "spec.devices.mmds.content" },
		{ CONTENT("{\\\"a\\\": {\\\"b\\\": 1, \\\"b\\\": 2}}"), "spec.devices.mmds.content" },
		{ ADDRESS("169.254.0.255"), "spec.devices.mmds.ipv4_address" },
		{ ADDRESS("169.254.255.0"), "spec.devices.mmds.ipv4_address" },
		{ ADDRESS("169.253.1.1"), "spec.devices.mmds.ipv4_address" },
		{ ADDRESS("169.254.1"), "spec.devices.mmds.ipv4_address" },
		{ ADDRESS("metadata"), "spec.devices.mmds.ipv4_address" },
	};
	static const char *const good[] = {
		WITH_MMDS("\"mmds\": true", ""),
		ADDRESS("169.254.1.0"),
		ADDRESS("169.254.254.255"),
		CONTENT("{}"),
		CONTENT("{\\\"a\\\": {\\\"a\\\": [1, null]}}"),
	};
	/* clang-format on */

	for (size_t i = 0; i < array_size(bad); i++)
		check_field(bad[i][0], bad[i][1]);
	for (size_t i = 0; i < array_size(good); i++)
		check_words(good[i], "");
}

/* An object of @depth, after a text whose brackets and quotes are none. */
static char *deep_json(int depth)
{
	static const char before[] = "{\"\\\\\": \"{[{[\\\"{[\", \"a\": ";
	size_t inner = (size_t)depth - 1;
	char *text = new0_array(char, sizeof before + 2 * inner + 1), *at = text;

	at = stpcpy(at, before);
	memset(at, '[', inner);
	memset(at + inner, ']', inner);
	at[2 * inner] = '}';
	return text;
}

/* What is wrong with metadata and a CPU configuration of @depth. */
static int check_depth(int depth, Error *err)
{
	cleanup_(spec_unrefp) VmSpec *spec = spec_from_text(WITH_MMDS("\"mmds\": true", ""));

	spec->machine = new0(VmMachine);
	spec->machine->cpu_config = deep_json(depth);
	spec->devices->mmds->content = deep_json(depth);
	return spec_check(spec, err);
}

Test(spec_check, json_is_no_deeper_than_the_vmm_reads)
{
	Error err = { 0 };

	cr_assert_eq(check_depth(127, &err), 0, "%s", err.what);
	cr_assert_eq(check_depth(128, &err), -1);
	cr_assert_str_eq(err.what, "spec.machine.cpu_config: must be at most 127 deep, is 128; "
				   "spec.devices.mmds.content: must be at most 127 deep, is 128");
	error_clear(&err);
	cr_assert_eq(check_depth(15000, &err), -1);
	cr_assert_eq(err.violation_count, 2, "%s", err.what);
}

#define BALLOON(members) "{\"devices\": {\"balloon\": {" members "}}}"

Test(spec_check, a_balloon_leaves_the_guest_something)
{
	check_field(BALLOON("\"amount_mib\": 128"), "spec.devices.balloon.amount_mib");
	check_field("{\"machine\": {\"memory_mib\": 64}, \"devices\": {\"balloon\": {"
		    "\"amount_mib\": 65}}}",
		    "spec.devices.balloon.amount_mib");

	check_words(BALLOON("\"amount_mib\": 127"), "");
	check_words(BALLOON(""), "");
}

Test(spec_check, balloon_statistics_come_every_so_many_whole_seconds)
{
	check_field(BALLOON("\"stats_interval\": 1500000"), "spec.devices.balloon.stats_interval");
	check_field(BALLOON("\"stats_interval\": 3601000000"),
		    "spec.devices.balloon.stats_interval");
	check_field(BALLOON("\"stats_interval\": -1000000"), "spec.devices.balloon.stats_interval");
	check_words(BALLOON("\"stats_interval\": 1000000"), "");
	check_words(BALLOON("\"stats_interval\": 3600000000"), "");
}

Test(spec_check, limits_hold_the_guest_and_what_a_vmm_needs)
{
	check_field("{\"limits\": {\"memory_mib\": 143}}", "spec.limits.memory_mib");
	check_field("{\"limits\": {\"memory_mib\": 128}}", "spec.limits.memory_mib");
	check_field("{\"machine\": {\"memory_mib\": 512}, \"limits\": {\"memory_mib\": 527}}",
		    "spec.limits.memory_mib");
	check_field("{\"limits\": {\"cpu_millis\": 9}}", "spec.limits.cpu_millis");
	check_field("{\"limits\": {\"pids\": 15}}", "spec.limits.pids");

	check_words("{\"limits\": {\"memory_mib\": 144}}", "");
	check_words("{\"limits\": {\"cpu_millis\": 10, \"pids\": 16}}", "");
	check_words("{\"machine\": {\"memory_mib\": 512}, \"limits\": {\"memory_mib\": 528}}", "");
}

static VmSpec *spec_with_bucket(uint64_t size, uint64_t burst)
{
	VmSpec *spec = spec_from_text("{\"drives\": [{\"drive_id\": \"a\", \"path\": \"/a\","
				      " \"rate_limiter\": {\"ops\": {\"refill_time_ms\": 1}}}]}");
	VmTokenBucket *bucket = spec_drive(spec, 0)->rate_limiter->ops;

	bucket->size = size;
	bucket->one_time_burst = burst;
	return spec;
}

Test(spec_check, buckets_are_no_larger_than_a_number_in_json)
{
	cleanup_(spec_unrefp) VmSpec *most = spec_with_bucket(INT64_MAX, INT64_MAX);
	cleanup_(spec_unrefp) VmSpec *more = spec_with_bucket(INT64_MAX + 1ULL, INT64_MAX + 1ULL);
	cleanup_(spec_unrefp) VmSpec *none = spec_with_bucket(0, 0);
	Error err = { 0 };

	cr_assert_eq(spec_check(most, &err), 0, "%s", err.what);
	cr_assert_eq(spec_check(more, &err), -1);
	cr_assert_eq(err.violation_count, 2, "%s", err.what);
	cr_assert_not_null(strstr(err.what, "spec.drives[0].rate_limiter.ops.size: "));
	cr_assert_not_null(strstr(err.what, "spec.drives[0].rate_limiter.ops.one_time_burst: "));
	error_clear(&err);
	cr_assert_eq(spec_check(none, &err), -1);
	cr_assert_eq(err.violation_count, 1, "%s", err.what);
}

Test(spec_check, all_that_is_wrong_is_said_at_once)
{
	check_words("{\"machine\": {\"vcpus\": 3, \"smt\": true, \"memory_mib\": 65,"
		    " \"huge_pages\": \"2m\", \"cpu_template\": \"c3\", \"cpu_config\": \"[]\"},"
		    " \"devices\": {\"balloon\": {\"amount_mib\": 65}},"
		    " \"limits\": {\"memory_mib\": 80}}",
		    "spec.machine.vcpus: must be 1 or even with smt, is 3; "
		    "spec.machine.memory_mib: must be even with huge pages, is 65; "
		    "spec.machine.cpu_config: not together with cpu_template; "
		    "spec.machine.cpu_config: must be a JSON object; "
		    "spec.devices.balloon.amount_mib: must be less than the machine's 65 MiB, is "
		    "65; spec.limits.memory_mib: must be at least the guest's memory and 16: 81, "
		    "is 80");
}

Test(spec_check, a_full_good_spec_passes)
{
	check_words(
		"{\"machine\": {\"vcpus\": 4, \"memory_mib\": 512, \"smt\": true,"
		" \"huge_pages\": \"2m\", \"cpu_template\": \"t2s\", \"track_dirty_pages\": "
		"true},"
		" \"drives\": [{\"drive_id\": \"a\", \"path\": \"/a\", \"is_root\": true,"
		" \"cache_type\": \"writeback\", \"io_engine\": \"async\", \"rate_limiter\":"
		" {\"bandwidth\": {\"size\": 1, \"refill_time_ms\": 1}}}],"
		" \"network_interfaces\": [{\"interface_id\": \"e\", \"mmds\": true,"
		" \"guest_mac\": \"02:00:00:00:00:01\", \"mtu\": 68,"
		" \"rx_rate_limiter\": {}, \"tx_rate_limiter\": {\"ops\":"
		" {\"size\": 1, \"one_time_burst\": 1, \"refill_time_ms\": 86400000}}}],"
		" \"devices\": {\"vsock\": {\"guest_cid\": 3}, \"balloon\": {\"amount_mib\": 511,"
		" \"stats_interval\": 1000000}, \"entropy\": {\"rate_limiter\": {}},"
		" \"mmds\": {\"content\": \"{}\", \"ipv4_address\": \"169.254.169.254\"}},"
		" \"limits\": {\"cpu_millis\": 4000, \"memory_mib\": 640, \"pids\": 100}}",
		"");
}

#define INTERFACES(elements) "{\"network_interfaces\": [" elements "]}"

Test(spec_check, addresses_that_an_interface_cannot_have_are_named)
{
	/* clang-format off */
	static const char *const bad[][2] = {
		{ INTERFACES("{\"interface_id\": \"a\", \"ipv4_address\": \"10.0.0\"}"),
		  "spec.network_interfaces[0].ipv4_address" },
		{ INTERFACES("{\"interface_id\": \"a\", \"ipv4_address\": \"fd00::1\"}"),
		  "spec.network_interfaces[0].ipv4_address" },
		{ INTERFACES("{\"interface_id\": \"a\", \"ipv6_address\": \"10.0.0.1\"}"),
		  "spec.network_interfaces[0].ipv6_address" },
		{ INTERFACES("{\"interface_id\": \"a\", \"ipv6_address\": \"fd00::1/64\"}"),
		  "spec.network_interfaces[0].ipv6_address" },
		{ INTERFACES("{\"interface_id\": \"a\"}, {\"interface_id\": \"b\","
			     " \"ipv4_address\": \"10.0.0.1\"}"),
		  "spec.network_interfaces[1].ipv4_address" },
	};
	/* clang-format on */

	for (size_t i = 0; i < array_size(bad); i++)
		check_field(bad[i][0], bad[i][1]);
	check_words(INTERFACES("{\"interface_id\": \"a\", \"ipv4_address\": \"10.0.0.1\","
			       " \"ipv6_address\": \"fd00::1\"}"),
		    "");
}

Test(spec_check, the_policy_is_read_with_the_rest)
{
	check_field("{\"egress\": {\"rules\": [{\"to\": [{\"cidr\": \"10.0.0.1/8\"}]}]}}",
		    "spec.egress.rules[0].to[0].cidr");
}
