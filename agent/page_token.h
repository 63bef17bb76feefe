/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Where a list goes on: opaque to clients, checked when it comes back.
 *
 * It holds the store it is of, a revision, a hash of the request's filters,
 * and the last id that was said.
 */

#include "base/error.h"

#include <stdint.h>

enum {
	PAGE_TOKEN_MAX = 256
};

typedef struct PageToken {
	uint64_t revision;
	char last[64];
} PageToken;

/* A running FNV-1a hash over texts, their ends included; begin with PAGE_HASH_START. */
#define PAGE_HASH_START UINT64_C(0xcbf29ce484222325)
uint64_t page_hash(uint64_t hash, const char *text);

/* Fills @ret with what goes into next_page_token. */
void page_token_write(char ret[static PAGE_TOKEN_MAX], const PageToken *token, const char *store_id,
		      uint64_t filters);

/* PAGE_TOKEN: malformed, of another store, or of other filters. */
int page_token_read(PageToken *ret, const char *text, const char *store_id, uint64_t filters,
		    Error *err) must_check;
