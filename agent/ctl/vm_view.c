/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/vm_view.h"

#include "agent/ctl/format.h"
#include "agent/ctl/json.h"
#include "base/text.h"

#include <inttypes.h>
#include <string.h>

/* clang-format off */
const Column vm_columns[] = {
	{ "VM", false }, { "STATE", false }, { "READY", false }, { "BACKEND", false },
	{ "VCPUS", false }, { "MEMORY", false }, { "RESTARTS", false }, { "AGE", false },
	{ "DOING", false },
	{ "TENANT", true }, { "REVISION", true }, { "GEN", true }, { "ACCEL", true },
	{ "PID", true }, { "JAIL-UID", true }, { "DRIVES", true }, { "INTERFACES", true },
	{ "UP", true }, { "LAST-EXIT", true }, { "EXPIRES", true },
	{ "LABELS", true }, { "UID", true },
	{ 0 },
};

const Column event_columns[] = {
	{ "TIME", false }, { "REVISION", true }, { "STATE", false }, { "REASON", false },
	{ "BY", false }, { "MESSAGE", false }, { "OPERATION", true }, { "UID", true },
	{ 0 },
};
/* clang-format on */

/* What a VM that leaves them out is shown with. */
#define EMPTY ((char[]){ "" })
static const Hearth__V1__VmSpec no_spec = { 0 };
static const Hearth__V1__VmStatus no_status = { 0 };
static const Hearth__V1__Resolved no_resolved = { .accelerator = EMPTY };
static const Hearth__V1__Operation no_operation = { .verb = EMPTY, .stage = EMPTY };

const char *vm_state_text(const Hearth__V1__Vm *vm, char buffer[static 40])
{
	if (!vm->status || !vm->status->state) {
		text_copy(buffer, 40, "-");
		return buffer;
	}
	return enum_text(&hearth__v1__vm_state__descriptor, (int)vm->status->state, buffer);
}

static const char *condition_text(const Hearth__V1__VmStatus *status, const char *type,
				  char buffer[static 40])
{
	text_copy(buffer, 40, "-");
	for (size_t i = 0; i < status->n_conditions; i++)
		if (strcmp(status->conditions[i]->type, type) == 0)
			return enum_text(&hearth__v1__condition_status__descriptor,
					 (int)status->conditions[i]->status, buffer);
	return buffer;
}

char *vm_labels_text(const Hearth__V1__VmSpec *spec)
{
	char *list = NULL;

	for (size_t i = 0; i < spec->n_labels; i++)
		list_add(&list, ",", "%s=%s", spec->labels[i]->key, spec->labels[i]->value);
	return list;
}

const Hearth__V1__ResolvedInterface *vm_interface(const Hearth__V1__Resolved *resolved,
						  const char *id)
{
	for (size_t i = 0; i < resolved->n_network_interfaces; i++)
		if (strcmp(resolved->network_interfaces[i]->interface_id, id) == 0)
			return resolved->network_interfaces[i];
	return NULL;
}

const char *vm_host_device(const Hearth__V1__Resolved *resolved, const char *id)
{
	const Hearth__V1__ResolvedInterface *interface = vm_interface(resolved, id);

	return interface ? interface->host_device : "";
}

/* Next cell: @list, which is then gone. */
static void list_cell(Table *table, char *list)
{
	table_cell(table, "%s", list ? list : "");
	free(list);
}

/* An id of a user or process, 0 for none. */
static void id_cell(Table *table, uint32_t id)
{
	if (id)
		table_cell(table, "%" PRIu32, id);
	else
		table_cell(table, "%s", "");
}

static char *drives_text(const Hearth__V1__VmSpec *spec)
{
	char *list = NULL;

	for (size_t i = 0; i < spec->n_drives; i++)
		list_add(&list, ",", "%s", spec->drives[i]->drive_id);
	return list;
}

/* "eth0=hth-1,eth1": with their taps, where there are some. */
static char *interfaces_text(const Hearth__V1__VmSpec *spec, const Hearth__V1__Resolved *resolved)
{
	char *list = NULL;

	for (size_t i = 0; i < spec->n_network_interfaces; i++) {
		const char *id = spec->network_interfaces[i]->interface_id;
		const char *device = vm_host_device(resolved, id);

		list_add(&list, ",", "%s%s%s", id, *device ? "=" : "", device);
	}
	return list;
}

static void wide_cells(Table *table, const Hearth__V1__Vm *vm, const Hearth__V1__VmSpec *spec,
		       const Hearth__V1__VmStatus *status, const Hearth__V1__Resolved *resolved)
{
	bool up = resolved->vmm_pid || status->state == HEARTH__V1__VM_STATE__VM_STATE_RUNNING;
	char text[FORMAT_MAX];
	char name[40];

	table_cell(table, "%s", vm->tenant);
	table_cell(table, "%" PRIu64, vm->revision);
	table_cell(table, "%" PRIu64, vm->generation);
	table_cell(table, "%s", resolved->accelerator);
	id_cell(table, resolved->vmm_pid);
	id_cell(table, resolved->jail_uid);
	list_cell(table, drives_text(spec));
	list_cell(table, interfaces_text(spec, resolved));
	table_cell(table, "%s", up ? format_age(resolved->start_time, text) : "");
	table_cell(table, "%s",
		   status->last_exit ? enum_text(&hearth__v1__exit_reason__descriptor,
						 (int)status->last_exit->reason, name)
				     : "");
	table_cell(table, "%s", format_time(spec->expires_at, text));
	list_cell(table, vm_labels_text(spec));
	table_cell(table, "%s", vm->uid);
}

void vm_row(Table *table, const Hearth__V1__Vm *vm)
{
	const Hearth__V1__VmSpec *spec = vm->spec ? vm->spec : &no_spec;
	const Hearth__V1__VmStatus *status = vm->status ? vm->status : &no_status;
	const Hearth__V1__Resolved *resolved = status->resolved ? status->resolved : &no_resolved;
	const Hearth__V1__Operation *operation =
		status->operation ? status->operation : &no_operation;
	char text[FORMAT_MAX];
	char name[40];

	table_cell(table, "%s", vm->vm_id);
	table_cell(table, "%s", vm_state_text(vm, name));
	table_cell(table, "%s", condition_text(status, "Ready", name));
	table_cell(table, "%s",
		   enum_text(&hearth__v1__backend__descriptor, (int)resolved->backend, name));
	table_cell(table, "%u", resolved->vcpus);
	table_cell(table, "%s", format_mib(resolved->memory_mib, text));
	table_cell(table, "%u", status->restart_count);
	table_cell(table, "%s", format_age(vm->create_time, text));
	table_cell(table, "%s%s%s", operation->verb, *operation->stage ? "/" : "",
		   operation->stage);
	wide_cells(table, vm, spec, status, resolved);
}

void event_row(Table *table, const Hearth__V1__VmEvent *event)
{
	char text[FORMAT_MAX];
	char name[40];

	table_cell(table, "%s", format_time(event->time, text));
	table_cell(table, "%" PRIu64, event->revision);
	table_cell(table, "%s",
		   event->state
			   ? enum_text(&hearth__v1__vm_state__descriptor, (int)event->state, name)
			   : "");
	table_cell(table, "%s", event->reason);
	table_cell(table, "%s", event->principal);
	table_cell(table, "%s", event->message);
	table_cell(table, "%s", event->operation_id);
	table_cell(table, "%s", event->uid);
}

void vm_print(const Ctl *ctl, const Hearth__V1__Vm *vm)
{
	cleanup_(table_freep) Table *table = NULL;

	if (ctl->format == OUTPUT_JSON) {
		json_print_message(&vm->base, true);
		return;
	}
	if (ctl->format == OUTPUT_NAME) {
		print_clean(stdout, "%s\n", vm->vm_id);
		return;
	}
	table = table_new(vm_columns, ctl->format == OUTPUT_WIDE);
	vm_row(table, vm);
	table_flush(table, stdout);
}
