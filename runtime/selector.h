/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Label selectors with the syntax and meaning of Kubernetes:
 * "a=b,c==d,e!=f,g in (h,i),j notin (k),l,!m". != and notin also match objects
 * that lack the label.
 */

#include "runtime/fields.h"

typedef struct Selector Selector;

enum {
	SELECTOR_BYTES_MAX = 1024,
	SELECTOR_REQUIREMENTS_MAX = 32
};

/* @field names the request's field in violations. An empty or NULL text matches everything. */
int selector_parse(Selector **ret, const char *text, const char *field, Error *err) must_check;
void selector_free(Selector *selector);
DEFINE_CLEANUP(Selector *, selector_free);
bool selector_match(const Selector *selector, const FieldMap *labels); /* NULL matches all */
