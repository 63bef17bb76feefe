/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a template's image was when it entered the catalog: stamp.json beside it. An image that is
 * otherwise is corrupt. Safe from any thread.
 */

#include "runtime/images/disk_hash.h"

enum {
	TEMPLATE_SOURCE_MAX = 256,
	TEMPLATE_STAMP_FORMAT =
		1, /* raised when a member changes its meaning; others are only added */
};

typedef struct TemplateStamp {
	uint64_t size;
	int64_t stamped; /* wall usec */
	char digest[DISK_DIGEST_SIZE];
	char source[TEMPLATE_SOURCE_MAX]; /* where it came from, for people; cut to fit */
} TemplateStamp;

/* Writes it into @dir, durably. ROOTFS. */
int template_stamp_write(const char *dir, const TemplateStamp *stamp, Error *err) must_check;

/* ROOTFS: MISSING; CORRUPT if it is no stamp; what the disk said. */
int template_stamp_read(TemplateStamp *ret, const char *dir, Error *err) must_check;
