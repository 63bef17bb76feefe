/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/vm.h"

#include <string.h>

/*
 * What the daemon in a VM's guest tells, in the VM's record: who it is, whether the guest is ready,
 * which secrets it has; and what follows from that for the conditions. Of VMs whose spec asks for
 * it, for as long as their VMM runs.
 */

typedef struct VmGuestWatch {
	GuestWatch watch;
	Vm *vm;
	uint32_t vmm_pid; /* of the run it is about */
} VmGuestWatch;

/* Is there a run whose guest can have told anything? */
static bool has_run(VmState state)
{
	return vm_state_has_vmm(state) || state == VM_PAUSING || state == VM_RESUMING ||
	       state == VM_STOPPING || state == VM_SNAPSHOTTING;
}

static bool has_secret(const VmGuestStatus *guest, const char *name)
{
	return guest && field_texts_has(&guest->secrets, name);
}

/* The names of those that are missing; empty: none is. */
static void list_missing(const VmRecord *record, char *ret, size_t size)
{
	char *at = ret;

	*ret = '\0';
	for (size_t i = 0; i < record->spec->secrets.count; i++) {
		const char *name = record->spec->secrets.items[i];

		if (!has_secret(record->status.guest, name))
			at = text_append(at, ret + size, "%s%s", at == ret ? "" : ", ", name);
	}
}

static void end_run(VmStatus *status)
{
	VmGuestStatus *guest = take_ptr(status->guest);

	if (!guest)
		return;
	fields_clear(&vm_guest_status_table, guest);
	free(guest);
}

/* Why a guest that has to be ready is not; NULL: it is. */
static const char *why_not_ready(const VmGuestStatus *guest, bool has_secrets)
{
	return !guest || !guest->connected ? "GuestNotConnected"
	       : !guest->ready             ? "GuestNotReady"
	       : !has_secrets              ? "SecretsMissing"
					   : NULL;
}

/* Each condition is set once: to set it twice would be a transition. */
static void set_ready(VmRecord *record, ConditionStatus running, const char *reason,
		      bool has_secrets)
{
	const char *why;

	if (record->spec->guest_agent == VM_GUEST_AGENT_REQUIRED && running == CONDITION_TRUE) {
		why = why_not_ready(record->status.guest, has_secrets);
		running = why ? CONDITION_FALSE : CONDITION_TRUE;
		reason = why ? why : "GuestReady";
	}
	record_set_condition(record, "Ready", running, reason, NULL);
}

void vm_set_ready(VmRecord *record, ConditionStatus running, const char *reason)
{
	VmState state = record->status.state;
	char missing[ERROR_WHAT_MAX];
	bool connected;

	if (!record->spec || !spec_wants_guest(record->spec)) {
		record_set_condition(record, "Ready", running, reason, NULL);
		return;
	}
	if (!has_run(state))
		end_run(&record->status);
	connected = record->status.guest && record->status.guest->connected;
	list_missing(record, missing, sizeof missing);
	set_ready(record, running, reason, !*missing);
	record_set_condition(record, "GuestConnected", connected ? CONDITION_TRUE : CONDITION_FALSE,
			     connected        ? "Connected"
			     : has_run(state) ? "NotConnected"
					      : reason,
			     NULL);
	if (record->spec->secrets.count)
		record_set_condition(record, "SecretsDelivered",
				     *missing ? CONDITION_FALSE : CONDITION_TRUE,
				     *missing ? "Missing" : "Delivered", missing);
}

/* @vm's next record, for a change of what its guest has told; NULL: that run is over. */
static VmRecord *next_record(Vm *vm, uint32_t vmm_pid) lock_requires(vm->lock)
{
	VmRecord *record;

	if (vm->gone || !has_run(vm->latest->status.state) ||
	    vm->latest->status.resolved->vmm_pid != vmm_pid)
		return NULL;
	record = record_copy(vm->latest);
	if (!record->status.guest)
		record->status.guest = new0(VmGuestStatus);
	return record;
}

/* Nobody has to be asked for it, and it has happened: there is no taking it back. */
static void submit(Vm *vm, VmRecord *record, const char *reason) lock_requires(vm->lock)
{
	Change *change;

	vm_set_state(record, record->status.state);
	change = change_new(CHANGE_MODIFIED, record, reason);
	change->is_outcome = true;
	vm_submit(vm, change);
}

static void note(VmGuestStatus *guest, const GuestHeard *heard)
{
	guest->connected = heard->open;
	guest->ready = heard->ready;
	if (!heard->open)
		return;
	field_set_text(&guest->agent_version, heard->agent);
	field_set_text(&guest->boot_id, heard->boot_id);
}

static bool is_news(const VmGuestStatus *before, const VmGuestStatus *after)
{
	static const VmGuestStatus nothing = { 0 };

	return !fields_equal(&vm_guest_status_table, before ? before : &nothing, after);
}

static void heard(GuestWatch *watch, const GuestHeard *said)
{
	const VmGuestWatch *ours = container_of(watch, VmGuestWatch, watch);
	Vm *vm = ours->vm;
	VmRecord *record;

	lock_take(&vm->lock);
	record = next_record(vm, ours->vmm_pid);
	if (record)
		note(record->status.guest, said);
	if (record && is_news(vm->latest->status.guest, record->status.guest))
		submit(vm, take_ptr(record),
		       !said->open   ? "GuestLost"
		       : said->ready ? "GuestReady"
				     : "GuestConnected");
	lock_drop(&vm->lock);
	record_unref(record);
}

static void released(GuestWatch *watch)
{
	VmGuestWatch *ours = container_of(watch, VmGuestWatch, watch);

	vm_unref(ours->vm);
	free(ours);
}

static void remove_secret(FieldTexts *secrets, const char *name)
{
	size_t kept = 0;

	for (size_t i = 0; i < secrets->count; i++) {
		if (strcmp(secrets->items[i], name) == 0)
			free(secrets->items[i]);
		else
			secrets->items[kept++] = secrets->items[i];
	}
	secrets->count = kept;
	if (!kept)
		free(take_ptr(secrets->items));
}

void vm_note_secret(Vm *vm, uint32_t vmm_pid, const char *name, bool has)
{
	VmRecord *record;

	lock_take(&vm->lock);
	record =
		field_texts_has(&vm->latest->spec->secrets, name) ? next_record(vm, vmm_pid) : NULL;
	if (record && has_secret(record->status.guest, name) != has) {
		if (has)
			field_texts_add(&record->status.guest->secrets, name);
		else
			remove_secret(&record->status.guest->secrets, name);
		submit(vm, take_ptr(record), has ? "SecretDelivered" : "SecretRemoved");
	}
	lock_drop(&vm->lock);
	record_unref(record);
}

/* Its run is over. */
static void leave(Vm *vm)
{
	GuestLink *link;
	bool watched;

	lock_take(&vm->lock);
	link = take_ptr(vm->guest);
	watched = vm->guest_watched;
	vm->guest_watched = false;
	lock_drop(&vm->lock);

	if (link && watched)
		guest_link_unwatch(link);
	guest_link_unref(link);
}

static void watch(Vm *vm, const VmRecord *record)
{
	cleanup_(guest_link_unrefp) GuestLink *link = vm_guest_link(vm, record);
	VmGuestWatch *ours;
	bool watched;

	if (!link)
		return;
	lock_take(&vm->lock);
	watched = vm->guest_watched || vm->guest != link;
	vm->guest_watched = true;
	lock_drop(&vm->lock);
	if (watched)
		return;
	ours = new0(VmGuestWatch);
	ours->watch = (GuestWatch){ heard, released };
	ours->vm = vm_ref(vm);
	ours->vmm_pid = record->status.resolved->vmm_pid;
	guest_link_watch(link, &ours->watch);
}

void vm_follow_guest(Vm *vm, const VmRecord *record)
{
	if (!has_run(record->status.state))
		leave(vm);
	else if (spec_wants_guest(record->spec) && record->status.resolved->vmm_pid)
		watch(vm, record);
}

int vm_check_guest(const Backend *backend, const VmSpec *spec, Error *err)
{
	if (spec->guest_agent == VM_GUEST_AGENT_NONE && spec->secrets.count)
		return error_add_violation(err, "spec.secrets", "needs spec.guest_agent");
	if (!spec_wants_guest(spec))
		return 0;
	if (!backend->ops->guest_path)
		return error_set(err, ERROR_UNSUPPORTED, "%s: %s",
				 vm_backend_name(backend->ops->id),
				 spec->guest_agent ? "spec.guest_agent" : "spec.secrets");
	if (backend->ops->id == VM_BACKEND_FIRECRACKER && !spec_vsock(spec))
		return error_add_violation(err, "spec.guest_agent", "needs spec.devices.vsock");
	return 0;
}
