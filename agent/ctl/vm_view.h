/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How VMs, their events and metrics are shown to people. */

#include "agent/ctl/ctl.h"
#include "agent/ctl/table.h"

extern const Column vm_columns[];
void vm_row(Table *table, const Hearth__V1__Vm *vm);

extern const Column event_columns[];
void event_row(Table *table, const Hearth__V1__VmEvent *event);

/* A VM's or a node's, as a paragraph; nothing if there are none. */
void conditions_print(Hearth__V1__Condition *const *conditions, size_t count);

/* Everything, in paragraphs. */
void vm_describe(const Hearth__V1__Vm *vm);
/* The part of it that is what was asked for and what was made of that; either may be NULL. */
void vm_describe_spec(const Hearth__V1__VmSpec *spec, const Hearth__V1__Resolved *resolved);

/* The VM as JSON, name or table, as asked for. */
void vm_print(const Ctl *ctl, const Hearth__V1__Vm *vm);

/* As JSON, names or table, as asked for: those whose names begin with @prefix, unless that is NULL;
 * the others are taken out of @metrics. */
void metrics_print(const Ctl *ctl, Hearth__V1__VmMetrics *metrics, const char *prefix);

/* "a=b,c=d", the caller's to free; NULL if there are none. */
char *vm_labels_text(const Hearth__V1__VmSpec *spec);
/* What was made of the interface called @id; NULL: nothing. */
const Hearth__V1__ResolvedInterface *vm_interface(const Hearth__V1__Resolved *resolved,
						  const char *id);
/* The tap that is its other end; "" if there is none. */
const char *vm_host_device(const Hearth__V1__Resolved *resolved, const char *id);

/* "running"; "-" if the VM has no state. */
const char *vm_state_text(const Hearth__V1__Vm *vm, char buffer[static 40]);
