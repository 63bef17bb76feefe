/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * An API description (Swagger 2.0, YAML) and whether a request's body fits it:
 * types, enumerations, limits, required properties, and, stricter than the
 * description says, no property it does not have unless it allows any.
 */

#include <jansson.h>
#include <stddef.h>

/* The description in the file @path; NULL if it cannot be read. */
json_t *api_schema_load(const char *path);

/**
 * api_schema_check() - does @body fit what @schema says of @method at @path?
 * @method:	lower case
 * @path:	as sent; "{...}" in the description stands for one segment
 * @why:	where and why not
 */
int api_schema_check(json_t *schema, const char *method, const char *path, json_t *body, char *why,
		     size_t size);
