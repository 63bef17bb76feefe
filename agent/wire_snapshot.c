/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/wire_snapshot.h"

#include "agent/agent.h"
#include "agent/status.h"
#include "agent/wire.h"
#include "base/clock.h"
#include "base/text.h"

#include <string.h>

static void *zeroed(Arena *arena, size_t size)
{
	void *memory = arena_alloc(arena, size);

	if (!memory)
		abort(); /* only without memory: an answer's budget has no end */
	memset(memory, 0, size);
	return memory;
}

static void put_labels(Arena *arena, Hearth__V1__Snapshot *to, const FieldMap *labels)
{
	to->n_labels = labels->count;
	to->labels = zeroed(arena, labels->count * sizeof *to->labels);
	for (size_t i = 0; i < labels->count; i++) {
		Hearth__V1__Snapshot__LabelsEntry *entry = zeroed(arena, sizeof *entry);

		hearth__v1__snapshot__labels_entry__init(entry);
		entry->key = labels->pairs[i].key;
		entry->value = labels->pairs[i].value;
		to->labels[i] = entry;
	}
}

static void put_files(Arena *arena, Hearth__V1__Snapshot *to, const FieldList *files)
{
	to->n_files = files->count;
	to->files = zeroed(arena, files->count * sizeof *to->files);
	for (size_t i = 0; i < files->count; i++) {
		const SnapshotFile *from = (const SnapshotFile *)files->items + i;
		Hearth__V1__SnapshotFile *file = zeroed(arena, sizeof *file);

		hearth__v1__snapshot_file__init(file);
		file->name = from->name;
		file->size_bytes = from->size;
		file->sha256 = from->sha256;
		to->files[i] = file;
	}
}

/* Packed and unpacked again, so that it lies in the arena like the rest. */
static Google__Rpc__Status *put_problem(Arena *arena, const SnapshotInfo *info)
{
	char message[ERROR_MESSAGE_MAX];
	Google__Rpc__Status *status = status_new(
		error_kind_name(info->problem.kind), error_cause_name(info->problem.cause),
		error_message(&info->problem, message), info->manifest->vm_id);
	size_t size = google__rpc__status__get_packed_size(status);
	uint8_t *bytes = zeroed(arena, size);

	google__rpc__status__pack(status, bytes);
	google__rpc__status__free_unpacked(status, NULL);
	return google__rpc__status__unpack(&arena->allocator, size, bytes);
}

static char *text_of(const char *text)
{
	return message_text(text ? text : "");
}

static void put_host(Hearth__V1__Snapshot *to, const SnapshotManifest *from)
{
	to->backend = (Hearth__V1__Backend)from->backend;
	to->vmm_version = text_of(from->vmm_version);
	to->accelerator = text_of(from->accelerator);
	to->cpu_model = text_of(from->cpu_model);
	to->kernel = text_of(from->kernel);
}

Hearth__V1__Snapshot *wire_snapshot(Arena *arena, const SnapshotInfo *info)
{
	const SnapshotManifest *from = info->manifest;
	Hearth__V1__Snapshot *to = zeroed(arena, sizeof *to);

	hearth__v1__snapshot__init(to);
	to->snapshot_id = text_of(from->snapshot_id);
	to->vm_id = text_of(from->vm_id);
	to->uid = text_of(from->uid);
	to->tenant = text_of(from->tenant);
	to->state = (Hearth__V1__SnapshotState)info->state;
	put_labels(arena, to, &from->labels);
	if (from->create_time) {
		to->create_time = zeroed(arena, sizeof *to->create_time);
		google__protobuf__timestamp__init(to->create_time);
		to->create_time->seconds = from->create_time / USEC_PER_SEC;
		to->create_time->nanos = (int32_t)(from->create_time % USEC_PER_SEC) * 1000;
	}
	put_host(to, from);
	to->spec = wire_spec_message(arena, from->spec);
	to->size_bytes = info->size;
	to->allocated_bytes = info->allocated;
	put_files(arena, to, &from->files);
	to->users = (uint32_t)info->users;
	if (error_is_set(&info->problem))
		to->problem = put_problem(arena, info);
	return to;
}
