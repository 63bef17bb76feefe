/* SPDX-License-Identifier: Apache-2.0 */
#include "netfw/prefix.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

static Prefix parse(const char *text)
{
	Prefix prefix;

	cr_assert_eq(prefix_parse(&prefix, text), 0, "%s", text);
	return prefix;
}

Test(prefix, a_text_is_read_and_written_back)
{
	static const char *const texts[] = {
		"0.0.0.0/0",     "10.0.0.0/8", "192.0.2.1/32", "198.51.100.128/25",  "::/0",
		"2001:db8::/32", "fe80::/10",  "::1/128",      "ff02::1:ff00:0/104",
	};
	char text[PREFIX_TEXT_MAX];

	for (size_t i = 0; i < array_size(texts); i++) {
		Prefix prefix = parse(texts[i]);

		cr_assert_str_eq(prefix_format(&prefix, text), texts[i]);
	}
}

Test(prefix, what_is_none_is_refused_for_what_is_wrong_with_it)
{
	static const struct {
		const char *text;
		int error;
	} cases[] = {
		{ "", -EINVAL },
		{ "10.0.0.0", -EINVAL },
		{ "10.0.0/8", -EINVAL },
		{ "10.0.0.0/", -EINVAL },
		{ "10.0.0.0/x", -EINVAL },
		{ "10.0.0.0/-1", -EINVAL },
		{ "10.0.0.0/08", -EINVAL },
		{ "10.0.0.0 /8", -EINVAL },
		{ "010.0.0.0/8", -EINVAL },
		{ "host/8", -EINVAL },
		{ "2001:db8:::/32", -EINVAL },
		{ "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa/8", -EINVAL },
		{ "10.0.0.0/33", -ERANGE },
		{ "::/129", -ERANGE },
		{ "10.0.0.0/99999999999999999999", -ERANGE },
		{ "10.0.0.1/8", -EDOM },
		{ "10.0.0.0/6", -EDOM },
		{ "2001:db8::1/64", -EDOM },
	};

	for (size_t i = 0; i < array_size(cases); i++) {
		Prefix prefix = { .length = 77 };

		cr_assert_eq(prefix_parse(&prefix, cases[i].text), cases[i].error, "%s",
			     cases[i].text);
		cr_assert_eq(prefix.length, 77);
		cr_assert_gt(strlen(prefix_problem(cases[i].error)), 0);
	}
}

Test(prefix, an_address_in_a_network_has_that_networks_length)
{
	static const struct {
		const char *text, *address, *network;
	} rows[] = {
		{ "192.0.2.130/25", "192.0.2.130/32", "192.0.2.128/25" },
		{ "192.0.2.7/0", "192.0.2.7/32", "0.0.0.0/0" },
		{ "2001:db8::1:2/112", "2001:db8::1:2/128", "2001:db8::1:0/112" },
	};
	char text[PREFIX_TEXT_MAX];
	Prefix address, network;
	uint8_t length;

	for (size_t i = 0; i < array_size(rows); i++) {
		cr_assert_eq(prefix_parse_in(&address, &length, rows[i].text), 0);
		cr_expect_str_eq(prefix_format(&address, text), rows[i].address);
		network = prefix_network(&address, length);
		cr_expect_str_eq(prefix_format(&network, text), rows[i].network);
	}
	cr_expect_eq(prefix_parse_in(&address, &length, "192.0.2.1/33"), -ERANGE);
	cr_expect_eq(prefix_parse_in(&address, &length, "192.0.2.1"), -EINVAL);
}

Test(prefix, containing_is_by_bits_and_family)
{
	static const struct {
		const char *outer, *inner;
		bool contains;
	} cases[] = {
		{ "10.0.0.0/8", "10.1.2.0/24", true },
		{ "10.0.0.0/8", "10.0.0.0/8", true },
		{ "10.1.2.0/24", "10.0.0.0/8", false },
		{ "10.0.0.0/9", "10.128.0.0/9", false },
		{ "0.0.0.0/0", "255.255.255.255/32", true },
		{ "0.0.0.0/0", "::/0", false },
		{ "::/0", "0.0.0.0/0", false },
		{ "2001:db8::/33", "2001:db8:7fff::/48", true },
		{ "2001:db8::/33", "2001:db8:8000::/48", false },
	};

	for (size_t i = 0; i < array_size(cases); i++) {
		Prefix outer = parse(cases[i].outer), inner = parse(cases[i].inner);

		cr_assert_eq(prefix_contains(&outer, &inner), cases[i].contains, "%s %s",
			     cases[i].outer, cases[i].inner);
	}
}

static int compare(const void *a, const void *b)
{
	return prefix_compare(a, b);
}

Test(prefix, sorted_what_contains_comes_first)
{
	static const char *const wanted[] = { "0.0.0.0/0",   "10.0.0.0/8",  "10.0.0.0/24",
					      "10.0.0.7/32", "10.1.0.0/16", "::/0",
					      "fe80::/10" };
	Prefix prefixes[array_size(wanted)];
	char text[PREFIX_TEXT_MAX];

	for (size_t i = 0; i < array_size(wanted); i++)
		prefixes[(i * 5 + 3) % array_size(wanted)] = parse(wanted[i]);

	qsort(prefixes, array_size(prefixes), sizeof *prefixes, compare);

	for (size_t i = 0; i < array_size(wanted); i++)
		cr_assert_str_eq(prefix_format(&prefixes[i], text), wanted[i]);
}
