/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The VMM's own word on why it ends, picked out of its QMP stream: the events
 * SHUTDOWN and GUEST_PANICKED.
 *
 * No JSON parser: QMP is a message a line, and inside JSON strings quotes are
 * escaped, so an unescaped "event": "SHUTDOWN" is one. Lines longer than the
 * buffer are skipped; no event of interest is near that long.
 */

#include <stdbool.h>
#include <stddef.h>

enum {
	QMP_EVIDENCE_MAX = 32,
	QMP_LINE_MAX = 2048
};

/* Zeroed at first. */
typedef struct QmpWatch {
	char line[QMP_LINE_MAX];
	size_t used;
	bool skipping; /* the rest of a line that was too long */
	bool greeted;  /* the VMM has introduced itself and waits for qmp_capabilities */
	char evidence[QMP_EVIDENCE_MAX];
} QmpWatch;

void qmp_watch_feed(QmpWatch *watch, const char *bytes, size_t length);
