/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Requests made from options. */

#include "agent/ctl/ctl.h"
#include "agent/ctl/json.h"
#include "google/protobuf/duration.pb-c.h"

/* A borrowed text as a field: protobuf-c's have no const, but a request is only read. */
char *text_field(const char *text);
char **text_list_field(const char **texts);

enum {
	UPDATE_PATHS = 16 /* more than there are */
};

/* Replaces a text that @field owns. */
void set_text(char **field, const char *text);

/**
 * set_variable() - put "NAME=VALUE" into a map of texts, in place of what NAME had
 * @field:	the address of the map's field; owned, as json_to_message() makes it
 * @type:	of its entries, of which there are *@count
 *
 * Return: whether @text is one.
 */
bool set_variable(void *field, size_t *count, const ProtobufCMessageDescriptor *type,
		  const char *text);

/* The JSON in @path ("-": standard input); NULL if it is none. report_json() says why. */
json_t *load_json(const char *path, json_error_t *error);
int report_json(const Ctl *ctl, const char *path, const json_error_t *problem);
/* The JSON object in the file that @option names, as one line, the caller's. Return: as
 * read_spec(). */
int read_json_object(const Ctl *ctl, const char *option, char **ret);
/* The spec in file @path: 0, or the exit status of what has been reported. */
int read_spec(const Ctl *ctl, const char *path, Hearth__V1__VmSpec **ret);

Google__Protobuf__Duration duration_field(int64_t usec);

/**
 * request_spec() - what the options say about a VM, put into @spec
 * @spec:	owned throughout, as json_to_message() makes it
 *
 * Return: 0, or the exit status of what was wrong and has been reported.
 */
int request_spec(Ctl *ctl, Hearth__V1__VmSpec *spec);

/* The part of it that is about drives, interfaces, devices and limits; as request_spec(). */
int request_devices(Ctl *ctl, Hearth__V1__VmSpec *spec);

/* The policy that option @file and --allow make, in place of *@policy; neither given: as it is. The
 * same. */
int request_egress(const Ctl *ctl, const char *file, Hearth__V1__EgressPolicy **policy);

/* A balloon of @mib, and metadata, where there are none or others. */
void set_balloon(Hearth__V1__VmSpec *spec, uint64_t mib);
void set_mmds(Hearth__V1__VmSpec *spec, const char *content);

/**
 * request_policy() - the part of it that may change later: labels, restart policy, expiry
 * @paths:	takes the names of the fields that were given; @n_paths how many
 *
 * Return: as request_spec().
 */
int request_policy(Ctl *ctl, Hearth__V1__VmSpec *spec, char *paths[static UPDATE_PATHS],
		   size_t *n_paths);

/* What update reads before it asks: it may have to try again, and standard input is read once. */
typedef struct UpdateInput {
	Hearth__V1__VmSpec *spec; /* --file */
	char *mask;               /* --mask, cut up */
	char *paths[UPDATE_PATHS];
	size_t n_paths;
	char *mmds; /* --mmds */
} UpdateInput;

/* Checks which options go together as well. Return: as request_spec(). */
int update_input_read(const Ctl *ctl, UpdateInput *ret);
void update_input_release(UpdateInput *input);

/**
 * request_live() - what the options say about devices and drives of a VM there is
 * @paths:	takes the names of the fields that were given, behind the *@n_paths there are
 *
 * Return: as request_spec().
 */
int request_live(const Ctl *ctl, const UpdateInput *input, Hearth__V1__VmSpec *spec,
		 char *paths[static UPDATE_PATHS], size_t *n_paths);
