/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/format.h"
#include "agent/ctl/vm_view.h"

#include <inttypes.h>
#include <string.h>

/* describe: what a VM is and does; its spec is vm_describe_spec.c's. */

void conditions_print(Hearth__V1__Condition *const *conditions, size_t count)
{
	static const Column columns[] = {
		{ "CONDITION", false }, { "STATUS", false },  { "SINCE", false },
		{ "REASON", false },    { "MESSAGE", false }, { 0 },
	};
	cleanup_(table_freep) Table *table = NULL;
	char text[FORMAT_MAX];
	char name[40];

	if (!count)
		return;
	(void)printf("\n");
	table = table_new(columns, false);
	for (size_t i = 0; i < count; i++) {
		const Hearth__V1__Condition *condition = conditions[i];

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

static void describe_names(const char *title, char *const *names, size_t count)
{
	cleanup_free char *items = NULL;

	for (size_t i = 0; i < count; i++)
		list_add(&items, ", ", "%s", names[i]);
	print_field(title, "%s", items ? items : "");
}

/* What is expected of it. */
static void describe_guest_spec(const Hearth__V1__VmSpec *spec)
{
	char name[40];

	if (spec->guest_agent)
		print_field("Guest agent:", "%s",
			    enum_text(&hearth__v1__guest_agent__descriptor, (int)spec->guest_agent,
				      name));
	describe_names("Secrets:", spec->secrets, spec->n_secrets);
}

/* What it says of itself, in this run. */
static void describe_guest(const Hearth__V1__GuestStatus *guest)
{
	cleanup_free char *items = NULL;

	list_add(&items, ", ", "%s", guest->connected ? "connected" : "not connected");
	list_add(&items, ", ", "%s", guest->ready ? "ready" : "not ready");
	if (*guest->agent_version)
		list_add(&items, ", ", "hearth-guest %s", guest->agent_version);
	if (*guest->boot_id)
		list_add(&items, ", ", "boot %s", guest->boot_id);
	print_field("Guest:", "%s", items);
	describe_names("Has secrets:", guest->secrets, guest->n_secrets);
}

void vm_describe(const Hearth__V1__Vm *vm)
{
	static const Hearth__V1__VmStatus no_status = HEARTH__V1__VM_STATUS__INIT;
	const Hearth__V1__VmStatus *status = vm->status ? vm->status : &no_status;
	char text[FORMAT_MAX];
	char name[40];

	print_field("VM:", "%s", vm->vm_id);
	print_field("UID:", "%s", vm->uid);
	print_field("Tenant:", "%s", vm->tenant);
	print_field("State:", "%s", vm_state_text(vm, name));
	print_field("Created:", "%s", format_time(vm->create_time, text));
	if (vm->delete_time)
		print_field("Destroyed:", "%s", format_time(vm->delete_time, text));
	print_field("Generation:", "%" PRIu64 ", of the present run: %" PRIu64, vm->generation,
		    status->observed_generation);
	print_field("Revision:", "%" PRIu64, vm->revision);
	vm_describe_spec(vm->spec, status->resolved);
	if (vm->spec)
		describe_guest_spec(vm->spec);
	if (status->guest)
		describe_guest(status->guest);
	if (status->restart_count || status->next_restart_time)
		print_field("Restarts:", "%u, next %s", status->restart_count,
			    format_time(status->next_restart_time, text));
	conditions_print(status->conditions, status->n_conditions);
	describe_operation("Operation", status->operation);
	describe_operation("Last operation", status->last_operation);
	describe_exit(status->last_exit);
}
