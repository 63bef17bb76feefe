/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The audit log: a line for each call that would change something, whatever came of it: when, who,
 * what, of which VM, the outcome and how long it took. Never what a request holds: no secret can
 * come into it. In the form of the log (log.h), in a file of its own, appended to; it may be moved
 * away by copying and truncating. From any thread once audit_open() has returned.
 */

#include "agent/server.h"

/* INVALID_REQUEST: names the key "audit.file". Before any thread, once. */
int audit_open(const char *path, Error *err) must_check;

/* A call that is over; nothing without audit_open(). A line that cannot be written is told of in
 * the log. */
void audit_call(const ServerFinished *call);
