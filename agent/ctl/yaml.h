/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * YAML as JSON: maps, lists and scalars, of one document. What is not quoted
 * and looks like a number, true, false or null is one, as in YAML's core
 * schema; all else is text.
 */

#include <jansson.h>
#include <stddef.h>

/* A new reference, the caller's; NULL with *@problem filled: line, column and words. */
json_t *yaml_load(const char *text, size_t length, json_error_t *problem);
