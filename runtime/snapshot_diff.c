/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/text.h"
#include "runtime/spec_asks.h"
#include "runtime/vm_snapshot.h"

/*
 * Snapshots of what has changed since the last one alone.
 *
 * A VMM knows what was written since the last snapshot that it wrote, and forgets it as it writes
 * the next: so a diff is laid over that one or none. Which it is the VM's record knows (resolved's
 * diff_base) from the end of one snapshot until the next one begins, whatever becomes of that, and
 * for as long as the VMM lives.
 *
 * To be restored a diff is made full first: its memory is then one file, as that of all others.
 */

enum {
	TURN_LOOK = USEC_PER_SEC / 10,
};

int diff_check_asked(const VmRecord *record, const BackendOps *ops, const char *parent, Error *err)
{
	static const char field[] = "parent_snapshot_id";
	const char *base = record->status.resolved->diff_base;

	if (!(ops->capabilities & BACKEND_DIFF))
		return error_set(err, ERROR_UNSUPPORTED, "snapshots of what has changed (%s)",
				 vm_backend_name(ops->id));
	if (!spec_asks_dirty_tracking(record->spec))
		return error_add_violation(err, field,
					   "needs a VM with spec.machine.track_dirty_pages");
	if (text_equal(base, ""))
		return error_add_violation(err, field,
					   "must be empty: of the VM's present run there is no "
					   "snapshot, or the last one was not finished");
	if (!text_equal(base, parent))
		return error_add_violation(
			err, field, "must be '%s', the last snapshot of the present run", base);
	return 0;
}

int diff_begin(Job *job, const char *parent, Error *err)
{
	bool fits = !*parent || text_equal(job->resolved->diff_base, parent);

	if (!fits)
		return error_set_cause(err, ERROR_SNAPSHOT_FAILED, CAUSE_INPUT,
				       "'%s' is not the last snapshot of the VM's run any more",
				       parent);
	field_set_text(&job->resolved->diff_base, NULL);
	return 0;
}

void diff_end(Job *job, const BackendOps *ops, const char *snapshot_id)
{
	if (ops->capabilities & BACKEND_DIFF && spec_asks_dirty_tracking(job->spec))
		field_set_text(&job->resolved->diff_base, snapshot_id);
}

/* One at a time: two would be in each other's way. */
static int take_turn(Runtime *runtime, const DiskProgress *progress, Error *err)
{
	bool taken = false;

	while (!taken) {
		lock_take(&runtime->flat_lock);
		if (runtime->flattening)
			(void)cond_wait_until(&runtime->flattened, &runtime->flat_lock,
					      clock_mono_us() + TURN_LOOK);
		taken = !runtime->flattening;
		if (taken)
			runtime->flattening = true;
		lock_drop(&runtime->flat_lock);
		if (!taken && disk_progress(progress, 0, 0) < 0)
			return error_set_cause(err, ERROR_SNAPSHOT_FAILED, CAUSE_TIMEOUT,
					       "given up while others were made full");
	}
	return 0;
}

static void give_turn(Runtime *runtime)
{
	lock_take(&runtime->flat_lock);
	runtime->flattening = false;
	cond_broadcast(&runtime->flattened);
	lock_drop(&runtime->flat_lock);
}

int runtime_flatten_snapshot(Runtime *runtime, const char *vm_id, const char *snapshot_id,
			     const DiskProgress *progress, Error *err)
{
	int r;

	if (take_turn(runtime, progress, err) < 0)
		return -1;
	r = snapshots_flatten(runtime->snapshots, vm_id, snapshot_id, progress, err);
	give_turn(runtime);
	return r;
}

int diff_make_full(Runtime *runtime, Job *job, Error *err)
{
	const VmRestoreFrom *from = job->spec->restore_from;
	const DiskProgress progress = job_progress(job);
	SnapshotInfo info = { .manifest = NULL };
	bool is_diff;

	if (snapshots_get(runtime->snapshots, from->vm_id, from->snapshot_id, &info, err) < 0)
		return -1;
	is_diff = info.manifest && info.manifest->kind == SNAPSHOT_DIFF;
	snapshot_info_clear(&info);
	if (!is_diff)
		return 0;
	job_step(job, "flatten");
	return runtime_flatten_snapshot(runtime, from->vm_id, from->snapshot_id, &progress, err);
}
