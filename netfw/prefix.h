/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A block of addresses in CIDR form (RFC 4632, RFC 4291 §2.3). A plain value.
 */

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	PREFIX_TEXT_MAX = 44, /* the longest, with its NUL */
};

typedef struct Prefix {
	uint8_t family;      /* 4 or 6 */
	uint8_t length;      /* bits: 0 to 32, or to 128 */
	uint8_t address[16]; /* network order, the first four of family 4; 0 from bit length on */
} Prefix;

/**
 * prefix_parse() - from "10.0.0.0/8" or "2001:db8::/32"
 *
 * Return: 0; -EINVAL: no such text; -ERANGE: the length; -EDOM: a bit is set behind it.
 */
int prefix_parse(Prefix *ret, const char *text) must_check;

/* What is wrong with a text for which prefix_parse() has said @error. */
const char *prefix_problem(int error);

/* One address, as a prefix of full length: 0 or -EINVAL. */
int prefix_parse_address(Prefix *ret, const char *text) must_check;

/* One address in a network, "10.1.2.3/8": the address as a prefix of full length, and how long the
 * network's is. As prefix_parse(), but for -EDOM. */
int prefix_parse_in(Prefix *ret, uint8_t *length, const char *text) must_check;

/* The network of @length bits that @address is in. */
Prefix prefix_network(const Prefix *address, uint8_t length);

/* As prefix_parse() reads it; @ret is returned. */
const char *prefix_format(const Prefix *prefix, char ret[static PREFIX_TEXT_MAX]);

/* Is all of @inner in @outer? */
bool prefix_contains(const Prefix *outer, const Prefix *inner);

/* For sorting: by family, then address, and what contains comes before what it contains. */
int prefix_compare(const Prefix *a, const Prefix *b);
