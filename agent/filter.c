/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/filter.h"

#include "agent/request.h"
#include "base/text.h"

#include <string.h>

void filter_set_tenant(VmFilter *filter, const char *tenant, Error *err)
{
	request_check_tenant(tenant, err);
	text_copy(filter->tenant, sizeof filter->tenant, tenant);
}

void filter_set_selector(VmFilter *filter, const char *text, Error *err)
{
	if (*text && selector_parse(&filter->selector, text, "label_selector", err) < 0)
		filter->selector = NULL;
}

void filter_set_vm_ids(VmFilter *filter, char *const *vm_ids, size_t count, Error *err)
{
	if (count > FILTER_VM_IDS_MAX) {
		(void)error_add_violation(err, "vm_ids", "more than %d", FILTER_VM_IDS_MAX);
		return;
	}
	filter->vm_ids = new0_array(char *, count);
	for (size_t i = 0; i < count; i++) {
		char field[32];

		(void)snprintf(field, sizeof field, "vm_ids[%zu]", i);
		if (!text_is_id(vm_ids[i]))
			(void)error_add_violation(err, field,
						  "must match [a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?");
		else
			filter->vm_ids[filter->vm_id_count++] = text_dup(vm_ids[i]);
	}
}

void filter_clear(VmFilter *filter)
{
	if (filter->selector)
		selector_free(filter->selector);
	for (size_t i = 0; i < filter->vm_id_count; i++)
		free(filter->vm_ids[i]);
	free(filter->vm_ids);
	*filter = (VmFilter){ .tenant = "" };
}

bool filter_may_match(const VmFilter *filter, const VmRecord *record)
{
	if (filter->tenant[0] && !text_equal(filter->tenant, record->tenant))
		return false;
	for (size_t i = 0; i < filter->vm_id_count; i++)
		if (strcmp(filter->vm_ids[i], record->vm_id) == 0)
			return true;
	return filter->vm_id_count == 0;
}

bool filter_match(const VmFilter *filter, const VmRecord *record)
{
	if (filter->states && !(filter->states & 1U << record->status.state))
		return false;
	return filter_may_match(filter, record) &&
	       selector_match(filter->selector, &record->spec->labels);
}
