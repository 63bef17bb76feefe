/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * For the tests of links: a network namespace of each test's own, with real
 * taps in it.
 */

#include "netfw/link.h"
#include "netfw/tap.h"
#include "tests/support/net.h"

#include <criterion/criterion.h>
#include <string.h>

static const LinkConfig config = { .group = 7700, .anchor = "hanchor" };
static const uint8_t host_mac[] = { 0x02, 0xaa, 0, 0, 0, 1 };
static const uint8_t guest_mac[] = { 0x06, 0, 0, 0, 0, 2 };

static inline void set_up(void)
{
	if (!net_available()) {
		(void)fprintf(stderr, "skipped: links need root and /dev/net/tun\n");
		cr_skip_test("links need root and /dev/net/tun");
	}
	net_enter();
}

static inline void prepare(void)
{
	Error err = { 0 };

	cr_assert_eq(link_prepare(&config, &err), 0, "%s", err.what);
}

static inline void make(const char *name)
{
	const TapConfig tap = { .name = name, .owner = (uid_t)-1 };
	Error err = { 0 };

	cr_assert_eq(tap_add(&tap, &err), 0, "%s", err.what);
}

static inline Prefix address(const char *text)
{
	Prefix prefix;

	cr_assert_eq(prefix_parse_address(&prefix, text), 0, "%s", text);
	return prefix;
}

static inline LinkTap routed(const char *name, const char *text)
{
	return (LinkTap){
		.name = name,
		.mac = host_mac,
		.filtered = true,
		.address4 = address(text),
		.guest_mac = guest_mac,
	};
}

static inline uint32_t up(const LinkTap *tap)
{
	Error err = { 0 };
	uint32_t index = 0;

	cr_assert_eq(link_up(&index, &config, tap, &err), 0, "%s", err.what);
	return index;
}

/* Does @command say all of @wanted, NULL-terminated? */
static inline void check_says(const char *command, const char *const *wanted)
{
	cleanup_free char *said = net_says("%s", command);

	for (; *wanted; wanted++)
		cr_assert_not_null(strstr(said, *wanted), "%s: no '%s' in: %s", command, *wanted,
				   said);
}

#define check_says(command, ...) (check_says)((command), (const char *const[]){ __VA_ARGS__, NULL })

static inline void check_silent(const char *command)
{
	cleanup_free char *said = net_says("%s", command);

	cr_assert_str_empty(said, "%s: %s", command, said);
}

#define BLOCKS "ingress_block 1752432641 egress_block 1752432642"
