/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How VMs and their events are shown to people. */

#include "agent/ctl/ctl.h"
#include "agent/ctl/table.h"

extern const Column vm_columns[];
void vm_row(Table *table, const Hearth__V1__Vm *vm);

extern const Column event_columns[];
void event_row(Table *table, const Hearth__V1__VmEvent *event);

/* Everything, in paragraphs. */
void vm_describe(const Hearth__V1__Vm *vm);

/* The VM as JSON, name or table, as asked for. */
void vm_print(const Ctl *ctl, const Hearth__V1__Vm *vm);

/* "running"; "-" if the VM has no state. */
const char *vm_state_text(const Hearth__V1__Vm *vm, char buffer[static 40]);
