/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The members of a request. Each function returns 0, with @ret as it was when the member is
 * missing and need not be there, or -1, having answered BAD_REQUEST with the member's name.
 */

#include "runtime/guest/session.h"

typedef enum GuestNeed {
	GUEST_OPTIONAL,
	GUEST_REQUIRED,
} GuestNeed;

int guest_request_text(const GuestRequest *request, const char *name, GuestNeed need,
		       const char **ret) must_check;
int guest_request_bool(const GuestRequest *request, const char *name, bool *ret) must_check;

/* From 1 to @max. */
int guest_request_number(const GuestRequest *request, const char *name, GuestNeed need, int64_t max,
			 int64_t *ret) must_check;

/* An array or an object; as the type says. */
int guest_request_list(const GuestRequest *request, const char *name, GuestJsonType type,
		       const GuestJsonValue **ret) must_check;

/* At most GUEST_DATA_MAX bytes, decoded in the line itself; required. */
int guest_request_data(const GuestRequest *request, const char *name, char **ret, size_t *length)
	must_check;

/* Answers BAD_REQUEST. Return: -1. */
int guest_request_bad(const GuestRequest *request, const char *name);
