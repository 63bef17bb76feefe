/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/arena.h"

#include <stdint.h>

enum {
	CHUNK_MIN = 16384
};

struct ArenaChunk {
	ArenaChunk *next;
	_Alignas(max_align_t) char bytes[];
};

static void *allocate(void *data, size_t size)
{
	return arena_alloc(data, size);
}

static void release(void *data, void *memory)
{
	(void)data;
	(void)memory; /* all at once, by arena_clear() */
}

void arena_init(Arena *arena, size_t budget)
{
	arena->allocator = (ProtobufCAllocator){
		.alloc = allocate,
		.free = release,
		.allocator_data = arena,
	};
	arena->budget = budget;
	arena->chunks = NULL;
	arena->at = arena->first;
	arena->end = arena->first + sizeof arena->first;
}

void arena_clear(Arena *arena)
{
	while (arena->chunks) {
		ArenaChunk *chunk = arena->chunks;

		arena->chunks = chunk->next;
		free(chunk);
	}
}

void *arena_alloc(Arena *arena, size_t size)
{
	const size_t align = _Alignof(max_align_t);
	void *memory;

	if (size > arena->budget)
		return NULL;
	size = (size + align - 1) / align * align;
	if (size > (size_t)(arena->end - arena->at)) {
		size_t room = size > CHUNK_MIN ? size : CHUNK_MIN;
		ArenaChunk *chunk = malloc(sizeof *chunk + room);

		if (!chunk)
			return NULL;
		chunk->next = arena->chunks;
		arena->chunks = chunk;
		arena->at = chunk->bytes;
		arena->end = chunk->bytes + room;
	}
	memory = arena->at;
	arena->at += size;
	arena->budget -= size < arena->budget ? size : arena->budget;
	return memory;
}
