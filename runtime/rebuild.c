/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/text.h"
#include "runtime/keeper_link.h"
#include "runtime/run_record.h"
#include "runtime/runtime.h"

#include <dirent.h>
#include <string.h>

/*
 * A new store, from what can be read of the old one and from the run
 * directories. A row of the old store is believed, but for one thing: a VM
 * whose keeper lives has a VMM. Of a VM that has no row, its run directory
 * tells: if its keeper lives it is to be looked for, else it is stopped, and
 * stays so. The next start of the agent adopts what runs, as it always does.
 */

typedef struct Rebuild {
	const RebuildSink *sink;
	Store *store;
	VmRecord **records;
	size_t count;
} Rebuild;

static void say(const Rebuild *rebuild, const char *vm_id, const char *what)
{
	rebuild->sink->say(rebuild->sink->user, vm_id, what);
}

static void rebuild_clear(Rebuild *rebuild)
{
	for (size_t i = 0; i < rebuild->count; i++)
		record_unref(rebuild->records[i]);
	free(rebuild->records);
	store_close(rebuild->store);
}

static const char *instance_of(const VmRecord *record)
{
	return record->status.resolved->instance_id;
}

/* A VM that goes by one of @record's names. */
static VmRecord *find(const Rebuild *rebuild, const VmRecord *record)
{
	for (size_t i = 0; i < rebuild->count; i++) {
		VmRecord *other = rebuild->records[i];

		if (strcmp(other->vm_id, record->vm_id) == 0 ||
		    strcmp(other->uid, record->uid) == 0 ||
		    strcmp(instance_of(other), instance_of(record)) == 0)
			return other;
	}
	return NULL;
}

static void add(Rebuild *rebuild, VmRecord *record)
{
	rebuild->records = must_realloc(rebuild->records, rebuild->count + 1, sizeof(VmRecord *));
	rebuild->records[rebuild->count++] = record;
}

static void take_row(void *user, VmRecord *record)
{
	Rebuild *rebuild = user;

	if (find(rebuild, record)) {
		say(rebuild, record->vm_id, "lost: there are two of it");
		record_unref(record);
		return;
	}
	say(rebuild, record->vm_id, "kept");
	add(rebuild, record);
}

static void lose_row(void *user, const char *what)
{
	say(user, "", what);
}

/* At rest, and nobody's doing: no policy starts it again. */
static void put_to_rest(VmRecord *record)
{
	VmSpec *spec = spec_copy(record->spec);

	spec->desired_state = VM_DESIRED_STOPPED;
	spec_unref(record->spec);
	record->spec = spec;
	record->status.state = VM_STOPPED;
	record_end_run(record->status.resolved);
}

static bool keeper_lives(const char *run_dir)
{
	cleanup_close int fd = -1;
	KeeperState state;

	return keeper_load(&state, run_dir) == 0 && keeper_open(&fd, &state) == 0;
}

/* The row says that it is at rest, of a time before its VMM was started. */
static void correct_row(const Rebuild *rebuild, VmRecord *row, bool lives)
{
	if (!lives || vm_state_has_vmm(row->status.state) || vm_state_is_busy(row->status.state))
		return;
	row->status.state = VM_RUNNING;
	say(rebuild, row->vm_id, "its row is old: it has a VMM, which the next start adopts");
}

/* It was written down while an operation ran, which has ended since. */
static void end_operation(VmRecord *record)
{
	VmOperation *operation = take_ptr(record->status.operation);

	if (operation)
		fields_clear(&vm_operation_table, operation);
	free(operation);
}

static void take_run_dir(Rebuild *rebuild, const char *instance, const char *run_dir)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;
	bool lives = keeper_lives(run_dir);
	int used = 0;
	VmRecord *other;
	Error err = { 0 };

	if (run_record_read(&record, run_dir) < 0 || !record_is_whole(record) ||
	    strcmp(instance_of(record), instance) != 0) {
		if (lives)
			say(rebuild, "",
			    "a VMM runs that no row and no record.json tells of: the "
			    "next start ends it");
		return;
	}
	other = find(rebuild, record);
	if (other && strcmp(instance_of(other), instance) == 0) {
		correct_row(rebuild, other, lives);
		return;
	}
	if (!other)
		used = store_uid_used(rebuild->store, record->uid, &err);
	if (other || used) {
		say(rebuild, record->vm_id, "an earlier one of that name is not kept");
		return;
	}
	end_operation(record);
	if (lives)
		record->status.state = VM_RUNNING;
	else
		put_to_rest(record);
	say(rebuild, record->vm_id,
	    lives ? "made again from its run directory: it runs"
		  : "made again from its run directory: it is stopped");
	add(rebuild, take_ptr(record));
}

static void take_run_dirs(Rebuild *rebuild, const char *state_dir)
{
	cleanup_free char *vms = text_printf("%s/vms", state_dir);
	cleanup_closedir DIR *dir = opendir(vms);
	const struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		cleanup_free char *path = text_printf("%s/%s", vms, entry->d_name);

		if (entry->d_name[0] != '.')
			take_run_dir(rebuild, entry->d_name, path);
	}
}

int runtime_rebuild(const char *state_dir, const RebuildSink *sink, Error *err)
{
	cleanup_(rebuild_clear) Rebuild rebuild = { .sink = sink };
	const StoreConfig config = { .state_dir = state_dir, .history = 1 };
	const StoreSalvage salvage = { take_row, lose_row, &rebuild };
	cleanup_free char *aside = NULL;

	if (store_open_anew(&rebuild.store, &config, &aside, err) < 0)
		return -1;
	if (aside) {
		say(&rebuild, "", aside);
		if (store_salvage(rebuild.store, aside, &salvage, err) < 0)
			return -1;
	}
	take_run_dirs(&rebuild, state_dir);
	return store_adopt(rebuild.store, rebuild.records, rebuild.count, err);
}
