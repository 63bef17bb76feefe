/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/change.h"

#include "base/clock.h"
#include "base/text.h"

Change *change_new(ChangeType type, VmRecord *record, const char *reason)
{
	Change *change = new0(Change);

	atomic_init(&change->refs, 1);
	change->type = type;
	change->time = clock_wall_us();
	change->record = record;
	change->reason = text_dup(reason);
	return change;
}

Change *change_ref(Change *change)
{
	atomic_fetch_add_explicit(&change->refs, 1, memory_order_relaxed);
	return change;
}

void change_unref(Change *change)
{
	if (!change || atomic_fetch_sub_explicit(&change->refs, 1, memory_order_acq_rel) > 1)
		return;
	free(change->reason);
	free(change->message);
	free(change->operation_id);
	free(change->principal);
	record_unref(change->record);
	record_unref(change->before);
	free(change);
}
