/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * JSON text straight from a structure: what jansson would print of
 * fields_to_json(), several times faster. The store's writer does this for
 * every change.
 */

#include "runtime/fields.h"

/* Zeroed at first; bytes is the caller's to free, and NUL-terminated by field_text_end(). */
typedef struct FieldText {
	char *bytes;
	size_t length, size;
} FieldText;

/* @json is valid where it is put. */
void field_text_add(FieldText *to, const char *json);
void field_text_add_fields(FieldText *to, const FieldTable *table, const void *object);
/* The whole, without slack; @to is empty again. */
char *field_text_end(FieldText *to);
