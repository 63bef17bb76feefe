/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/wire_snapshot.h"

#include "agent/agent.h"
#include "agent/status.h"
#include "agent/wire.h"
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

static void put_labels(Arena *arena, Hearth__V1__Snapshot *to, const SnapshotManifest *from)
{
	to->n_labels = from->labels.count;
	to->labels = zeroed(arena, to->n_labels * sizeof(void *));
	for (size_t i = 0; i < to->n_labels; i++) {
		const SnapshotLabel *label = snapshot_label_at(from, i);
		Hearth__V1__Snapshot__LabelsEntry *entry = zeroed(arena, sizeof *entry);

		hearth__v1__snapshot__labels_entry__init(entry);
		entry->key = label->key;
		entry->value = label->value;
		to->labels[i] = entry;
	}
}

static void put_files(Arena *arena, Hearth__V1__Snapshot *to, const SnapshotManifest *from)
{
	to->n_files = snapshot_file_count(from);
	to->files = zeroed(arena, to->n_files * sizeof(void *));
	for (size_t i = 0; i < to->n_files; i++) {
		const SnapshotFile *file = snapshot_file_at(from, i);
		Hearth__V1__SnapshotFile *message = zeroed(arena, sizeof *message);

		hearth__v1__snapshot_file__init(message);
		message->name = file->name;
		message->size_bytes = file->size;
		message->sha256 = file->sha256;
		to->size_bytes += file->size;
		to->files[i] = message;
	}
}

/* Packed and unpacked again, so that it lies in the arena like the rest. */
static Google__Rpc__Status *put_problem(Arena *arena, const SnapshotInfo *info)
{
	char message[ERROR_MESSAGE_MAX];
	Google__Rpc__Status *status = status_new(
		error_kind_name(info->problem.kind), error_cause_name(info->problem.cause),
		error_message(&info->problem, message), info->vm_id);
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

static void put_manifest(Arena *arena, Hearth__V1__Snapshot *to, const SnapshotManifest *from)
{
	put_labels(arena, to, from);
	put_files(arena, to, from);
	to->uid = text_of(from->vm_uid);
	to->backend = (Hearth__V1__Backend)vm_backend_from_name(from->backend);
	to->vmm_version = text_of(from->vmm_version);
	to->accelerator = text_of(from->accelerator);
	to->cpu_model = text_of(from->cpu_model);
	to->kernel = text_of(from->kernel);
}

Hearth__V1__Snapshot *wire_snapshot(Arena *arena, const SnapshotInfo *info, const VmSpec *spec)
{
	Hearth__V1__Snapshot *to = zeroed(arena, sizeof *to);

	hearth__v1__snapshot__init(to);
	to->snapshot_id = text_of(info->snapshot_id);
	to->vm_id = text_of(info->vm_id);
	to->tenant = text_of(info->tenant);
	to->parent_snapshot_id = text_of(info->parent);
	to->state = (Hearth__V1__SnapshotState)info->state;
	if (info->created) {
		to->create_time = zeroed(arena, sizeof *to->create_time);
		wire_time(to->create_time, info->created);
	}
	if (info->manifest)
		put_manifest(arena, to, info->manifest);
	to->spec = wire_spec_message(arena, spec);
	to->allocated_bytes = info->allocated;
	if (info->state == SNAPSHOT_CREATING) {
		to->done_bytes = info->done;
		to->total_bytes = info->total;
	}
	to->users = (uint32_t)info->users;
	if (error_is_set(&info->problem))
		to->problem = put_problem(arena, info);
	return to;
}
