/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which VMs a list or watch is about. Filled once; then constant. */

#include "runtime/record.h"
#include "runtime/selector.h"

enum {
	FILTER_VM_IDS_MAX = 100
};

typedef struct VmFilter {
	char tenant[64];    /* empty: all */
	Selector *selector; /* NULL: all */
	unsigned states;    /* bits 1 << VmState; 0: all */
	char **vm_ids;      /* none: all */
	size_t vm_id_count;
} VmFilter;

/* Checks and copies what a request has; violations are added. */
void filter_set_tenant(VmFilter *filter, const char *tenant, Error *err);
void filter_set_selector(VmFilter *filter, const char *text, Error *err);
void filter_set_vm_ids(VmFilter *filter, char *const *vm_ids, size_t count, Error *err);
void filter_clear(VmFilter *filter);

/* @vm_ids and tenant: what cannot change in a VM's life. */
bool filter_may_match(const VmFilter *filter, const VmRecord *record);
bool filter_match(const VmFilter *filter, const VmRecord *record);
