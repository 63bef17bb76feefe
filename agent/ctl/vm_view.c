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
	{ "PID", true }, { "UP", true }, { "LAST-EXIT", true }, { "EXPIRES", true },
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

static void labels_text(const Hearth__V1__VmSpec *spec, char *text, size_t size)
{
	char *at = text;

	*at = '\0';
	for (size_t i = 0; i < spec->n_labels; i++)
		at = text_append(at, text + size, "%s%s=%s", i ? "," : "", spec->labels[i]->key,
				 spec->labels[i]->value);
}

static void wide_cells(Table *table, const Hearth__V1__Vm *vm, const Hearth__V1__VmSpec *spec,
		       const Hearth__V1__VmStatus *status, const Hearth__V1__Resolved *resolved)
{
	bool up = resolved->vmm_pid || status->state == HEARTH__V1__VM_STATE__VM_STATE_RUNNING;
	char text[FORMAT_MAX];
	char name[40];
	char labels[4096];

	table_cell(table, "%s", vm->tenant);
	table_cell(table, "%" PRIu64, vm->revision);
	table_cell(table, "%" PRIu64, vm->generation);
	table_cell(table, "%s", resolved->accelerator);
	if (resolved->vmm_pid)
		table_cell(table, "%u", resolved->vmm_pid);
	else
		table_cell(table, "%s", "");
	table_cell(table, "%s", up ? format_age(resolved->start_time, text) : "");
	table_cell(table, "%s",
		   status->last_exit ? enum_text(&hearth__v1__exit_reason__descriptor,
						 (int)status->last_exit->reason, name)
				     : "");
	table_cell(table, "%s", format_time(spec->expires_at, text));
	labels_text(spec, labels, sizeof labels);
	table_cell(table, "%s", labels);
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

static void line(const char *name, const char *format, ...) printf_like(2, 3);

/* "Name:      value", or nothing for an empty value. */
static void line(const char *name, const char *format, ...)
{
	char text[4096] = "";
	va_list ap;

	va_start(ap, format);
	(void)text_vappend(text, text + sizeof text, format, ap);
	va_end(ap);
	if (*text)
		print_clean(stdout, "%-14s %s\n", name, text);
}

static void describe_restart(const Hearth__V1__RestartPolicy *policy)
{
	char limit[FORMAT_MAX] = "";
	char name[40] = "never";

	if (policy->mode)
		(void)enum_text(&hearth__v1__restart_mode__descriptor, (int)policy->mode, name);
	if (policy->max_restarts)
		(void)text_append(limit, limit + sizeof limit, ", at most %u in a row",
				  policy->max_restarts);
	line("Restart:", "%s%s", name, limit);
}

static void describe_spec(const Hearth__V1__VmSpec *spec)
{
	char name[40];
	char time[FORMAT_MAX];
	char labels[4096];

	labels_text(spec, labels, sizeof labels);
	line("Labels:", "%s", labels);
	if (spec->desired_state)
		line("Desired:", "%s",
		     enum_text(&hearth__v1__desired_state__descriptor, (int)spec->desired_state,
			       name));
	if (spec->boot) {
		line("Kernel:", "%s", spec->boot->kernel_path);
		line("Initrd:", "%s", spec->boot->initrd_path);
	}
	for (size_t i = 0; i < spec->n_drives; i++)
		line("Drive:", "%s %s (%s%s)", spec->drives[i]->drive_id, spec->drives[i]->path,
		     spec->drives[i]->is_root ? "root, " : "",
		     spec->drives[i]->read_only ? "read-only" : "read-write");
	if (spec->restart_policy)
		describe_restart(spec->restart_policy);
	if (spec->expires_at)
		line("Expires:", "%s, then %s", format_time(spec->expires_at, time),
		     spec->expire_action ? enum_text(&hearth__v1__expire_action__descriptor,
						     (int)spec->expire_action, name)
					 : "stop");
}

static void describe_resolved(const Hearth__V1__Resolved *resolved)
{
	char text[FORMAT_MAX];
	char name[40];

	line("Backend:", "%s%s%s%s%s",
	     enum_text(&hearth__v1__backend__descriptor, (int)resolved->backend, name),
	     *resolved->vmm_version ? " " : "", resolved->vmm_version,
	     *resolved->accelerator ? " with " : "", resolved->accelerator);
	line("Machine:", "%u vCPU, %s", resolved->vcpus, format_mib(resolved->memory_mib, text));
	line("Boot args:", "%s", resolved->boot_args);
	line("Instance:", "%s", resolved->instance_id);
	if (resolved->vmm_pid || resolved->keeper_pid)
		line("Processes:", "VMM %u, keeper %u", resolved->vmm_pid, resolved->keeper_pid);
	if (resolved->start_time)
		line("Started:", "%s", format_time(resolved->start_time, text));
}

static void describe_conditions(const Hearth__V1__VmStatus *status)
{
	static const Column columns[] = {
		{ "CONDITION", false }, { "STATUS", false },  { "SINCE", false },
		{ "REASON", false },    { "MESSAGE", false }, { 0 },
	};
	cleanup_(table_freep) Table *table = NULL;
	char text[FORMAT_MAX];
	char name[40];

	if (!status->n_conditions)
		return;
	(void)printf("\n");
	table = table_new(columns, false);
	for (size_t i = 0; i < status->n_conditions; i++) {
		const Hearth__V1__Condition *condition = status->conditions[i];

		table_cell(table, "%s", condition->type);
		table_cell(table, "%s",
			   enum_text(&hearth__v1__condition_status__descriptor,
				     (int)condition->status, name));
		table_cell(table, "%s", format_age(condition->transition_time, text));
		table_cell(table, "%s", condition->reason);
		table_cell(table, "%s", condition->message);
	}
	table_flush(table, stdout);
}

static void describe_operation(const char *title, const Hearth__V1__Operation *operation)
{
	char outcome[40] = "running";
	char span[FORMAT_MAX];

	if (!operation)
		return;
	if (operation->outcome)
		(void)enum_text(&hearth__v1__operation_outcome__descriptor, (int)operation->outcome,
				outcome);
	(void)format_between(operation->start_time, operation->end_time, span);
	print_clean(stdout, "\n%s: %s, %s after %s, asked by %s (%s)\n", title, operation->verb,
		    outcome, span, operation->principal, operation->operation_id);
	if (operation->error)
		print_clean(stdout, "  error: %s\n", operation->error->message);
	for (size_t i = 0; i < operation->n_steps; i++)
		print_clean(stdout, "  %-20s %s\n", operation->steps[i]->name,
			    format_between(operation->steps[i]->start_time,
					   operation->steps[i]->end_time, span));
}

static void describe_exit(const Hearth__V1__Exit *last)
{
	char text[FORMAT_MAX];
	char name[40];

	if (!last)
		return;
	print_clean(stdout, "\nLast exit: %s%s, code %d, signal %d, %s\n",
		    enum_text(&hearth__v1__exit_reason__descriptor, (int)last->reason, name),
		    last->requested ||
				    last->reason == HEARTH__V1__EXIT_REASON__EXIT_REASON_REQUESTED
			    ? ""
			    : ", not requested",
		    last->exit_code, last->signal, format_time(last->time, text));
	for (size_t i = 0; i < last->n_rungs; i++) {
		const Hearth__V1__StopRung *rung = last->rungs[i];

		print_clean(
			stdout, "  %-20s %s after %s  %s\n", rung->name,
			enum_text(&hearth__v1__rung_outcome__descriptor, (int)rung->outcome, name),
			format_between(rung->start_time, rung->end_time, text), rung->message);
	}
	if (*last->console_tail)
		print_clean(stdout, "  console:\n%s\n", last->console_tail);
}

void vm_describe(const Hearth__V1__Vm *vm)
{
	const Hearth__V1__VmStatus *status = vm->status ? vm->status : &no_status;
	char text[FORMAT_MAX];
	char name[40];

	line("VM:", "%s", vm->vm_id);
	line("UID:", "%s", vm->uid);
	line("Tenant:", "%s", vm->tenant);
	line("State:", "%s", vm_state_text(vm, name));
	line("Created:", "%s", format_time(vm->create_time, text));
	if (vm->delete_time)
		line("Destroyed:", "%s", format_time(vm->delete_time, text));
	line("Generation:", "%" PRIu64 ", of the present run: %" PRIu64, vm->generation,
	     status->observed_generation);
	line("Revision:", "%" PRIu64, vm->revision);
	if (vm->spec)
		describe_spec(vm->spec);
	if (status->resolved)
		describe_resolved(status->resolved);
	if (status->restart_count || status->next_restart_time)
		line("Restarts:", "%u, next %s", status->restart_count,
		     format_time(status->next_restart_time, text));
	describe_conditions(status);
	describe_operation("Operation", status->operation);
	describe_operation("Last operation", status->last_operation);
	describe_exit(status->last_exit);
}

void vm_print(const Ctl *ctl, const Hearth__V1__Vm *vm)
{
	cleanup_(table_freep) Table *table = NULL;

	if (ctl->format == OUTPUT_JSON) {
		cleanup_(json_freep) json_t *json = json_from_message(&vm->base);

		json_print(stdout, json, true);
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
