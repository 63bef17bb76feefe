/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Memory for one decoded request: handed out from chunks, released at once,
 * and refused past a budget, so that a small message cannot become a large
 * allocation. Most requests fit into the arena itself, on a poller's stack.
 */

#include "base/cleanup.h"

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

enum {
	ARENA_INLINE = 4096
};

typedef struct ArenaChunk ArenaChunk;

typedef struct Arena {
	ProtobufCAllocator allocator;
	size_t budget;  /* bytes still to be had */
	char *at, *end; /* of the present chunk */
	ArenaChunk *chunks;
	_Alignas(max_align_t) char first[ARENA_INLINE];
} Arena;

/* The arena must not be moved afterwards. */
void arena_init(Arena *arena, size_t budget);
void arena_clear(Arena *arena);
/* NULL when the budget does not allow it. */
void *arena_alloc(Arena *arena, size_t size);
