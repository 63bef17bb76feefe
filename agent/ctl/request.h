/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Requests made from options. */

#include "agent/ctl/ctl.h"
#include "google/protobuf/duration.pb-c.h"

/* A borrowed text as a field: protobuf-c's have no const, but a request is only read. */
char *text_field(const char *text);
char **text_list_field(const char **texts);

enum {
	UPDATE_PATHS = 5
};

Google__Protobuf__Duration duration_field(int64_t usec);

/**
 * request_spec() - what the options say about a VM, put into @spec
 * @spec:	owned throughout, as json_to_message() makes it
 *
 * Return: 0, or the exit status of what was wrong and has been reported.
 */
int request_spec(Ctl *ctl, Hearth__V1__VmSpec *spec);

/**
 * request_policy() - the part of it that may change later: labels, restart policy, expiry
 * @paths:	takes the names of the fields that were given; @n_paths how many
 *
 * Return: as request_spec().
 */
int request_policy(Ctl *ctl, Hearth__V1__VmSpec *spec, char *paths[static UPDATE_PATHS],
		   size_t *n_paths);
