/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/request.h"

#include "base/clock.h"
#include "base/text.h"

#include <inttypes.h>
#include <string.h>

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

/* [@min, @max] bytes, all of @accept? */
static bool is_word(const char *text, size_t min, size_t max, const char *accept)
{
	size_t length = strlen(text);

	return length >= min && length <= max && strspn(text, accept) == length;
}

void request_check_vm_id(const char *vm_id, Error *err)
{
	if (!*vm_id)
		(void)error_add_violation(err, "vm_id", "required");
	else if (!text_is_id(vm_id))
		(void)error_add_violation(err, "vm_id",
					  "must match [a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?");
}

void request_check_id(const char *field, const char *id, Error *err)
{
	if (!text_is_id(id))
		(void)error_add_violation(err, field,
					  "must be 1 to 63 bytes of [a-z0-9-], no - at the ends");
}

void request_check_uid(const char *uid, Error *err)
{
	if (!is_word(uid, 0, 63, LOWER UPPER DIGITS "-"))
		(void)error_add_violation(err, "uid", "must be 1 to 63 bytes of [A-Za-z0-9-]");
}

void request_check_tenant(const char *tenant, Error *err)
{
	if (!is_word(tenant, 0, 63, LOWER DIGITS "-"))
		(void)error_add_violation(err, "tenant", "must be 0 to 63 bytes of [a-z0-9-]");
}

void request_check_owner(const char *owner, Error *err)
{
	if (!*owner)
		(void)error_add_violation(err, "owner", "required");
	else if (!is_word(owner, 1, 63, LOWER UPPER DIGITS "._/-"))
		(void)error_add_violation(err, "owner", "must be 1 to 63 bytes of [A-Za-z0-9._/-]");
}

void request_check_reason(const char *reason, Error *err)
{
	if (strlen(reason) > REQUEST_REASON_MAX)
		(void)error_add_violation(err, "reason", "must be up to %d bytes",
					  REQUEST_REASON_MAX);
}

uint32_t request_page_size(uint32_t asked, Error *err)
{
	if (asked > REQUEST_PAGE_SIZE_MAX)
		(void)error_add_violation(err, "page_size", "must be 1 to %d",
					  REQUEST_PAGE_SIZE_MAX);
	return asked ? asked : REQUEST_PAGE_SIZE;
}

int64_t request_duration(const Google__Protobuf__Duration *duration, const char *field, int64_t min,
			 int64_t max, int64_t unset, Error *err)
{
	int64_t usec;

	if (!duration)
		return unset;
	if (duration->nanos < 0 || duration->nanos > 999999999 || duration->seconds < min ||
	    duration->seconds > max || (duration->seconds == max && duration->nanos > 0)) {
		(void)error_add_violation(err, field, "must be %" PRId64 "s to %" PRId64 "s", min,
					  max);
		return unset;
	}
	usec = duration->seconds * USEC_PER_SEC + duration->nanos / 1000;
	/* A nanosecond asked for is not nothing. */
	return usec == 0 && duration->nanos > 0 ? 1 : usec;
}

int64_t request_bookmark_interval(const Google__Protobuf__Duration *duration, Error *err)
{
	return request_duration(duration, "bookmark_interval", 1, 3600, INT64_C(60) * USEC_PER_SEC,
				err);
}

unsigned request_update_mask(const Google__Protobuf__FieldMask *mask, Error *err)
{
	unsigned bits = 0;

	if (!mask || mask->n_paths == 0)
		(void)error_add_violation(err, "update_mask", "required");
	for (size_t i = 0; mask && i < mask->n_paths; i++) {
		unsigned bit = spec_update_bit(mask->paths[i]);

		if (!bit) {
			cleanup_free char *names = spec_update_names();

			(void)error_add_violation(err, "update_mask", "paths[%zu] is none of %s", i,
						  names);
		}
		bits |= bit;
	}
	return bits;
}

unsigned request_states(const Hearth__V1__VmState *states, size_t count, Error *err)
{
	unsigned bits = 0;

	for (size_t i = 0; i < count; i++) {
		char field[32];

		if ((int)states[i] > VM_STATE_UNSET && (int)states[i] < VM_STATE_COUNT_) {
			bits |= 1U << states[i];
			continue;
		}
		(void)snprintf(field, sizeof field, "states[%zu]", i);
		(void)error_add_violation(err, field, "is no state");
		break;
	}
	return bits;
}

bool request_fail(Call *call, const char *vm_id, Error *err)
{
	if (!error_is_set(err))
		return false;
	if (vm_id && text_is_id(vm_id))
		error_about_vm(err, vm_id);
	call_fail(call, err);
	return true;
}
