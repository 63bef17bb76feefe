/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Errors a client can be told about.
 *
 * An Error lives on the stack of whoever handles it and owns nothing, so
 * there is no release, and copying is assignment. Functions that can fail
 * take "Error *err" last, return 0 or -1, and on -1 have filled *err exactly
 * once. Whoever meets the problem describes it, with names and paths; callers
 * only pass it on.
 */

#include "base/cleanup.h"
#include "base/error_table.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum ErrorKind {
	ERROR_NONE,
#define X(kind, code, retry, message) ERROR_##kind,
	ERROR_TABLE(X)
#undef X
	ERROR_KIND_COUNT_,
} ErrorKind;

typedef enum ErrorCause {
	CAUSE_HOST,
#define X(cause, code, retry) CAUSE_##cause,
	CAUSE_TABLE(X)
#undef X
	CAUSE_COUNT_,
} ErrorCause;

typedef enum ErrorRetry {
#define X(retry) RETRY_##retry,
	RETRY_TABLE(X)
#undef X
	RETRY_COUNT_,
} ErrorRetry;

enum {
	ERROR_ID_MAX = 64,       /* an id of 63 characters and its NUL */
	ERROR_WHAT_MAX = 512,    /* the particulars */
	ERROR_FIELDS_MAX = 2048, /* all field violations together */
	ERROR_MESSAGE_MAX = 768, /* what error_message() needs at most */
};

typedef struct Error {
	ErrorKind kind;
	ErrorCause cause;
	char vm_id[ERROR_ID_MAX];
	char snapshot_id[ERROR_ID_MAX];
	char from[24], to[24];         /* INVALID_TRANSITION, lower case */
	char resource[24];             /* CAPACITY */
	uint64_t requested, available; /* CAPACITY, in the resource's unit */
	uint32_t retry_delay_ms;       /* 0: no RetryInfo */
	uint64_t resume_revision;      /* WATCH_SLOW, COMPACTED: where reading may go on */
	char what[ERROR_WHAT_MAX];
	uint32_t violation_count; /* found, of which those that fit are in violations */
	uint32_t violation_bytes;
	char violations[ERROR_FIELDS_MAX]; /* "field\0description\0" ... */
} Error;

/**
 * error_set() - fill *@err and evaluate to -1
 * @err:	where to put it; must not hold an error yet
 * @kind:	which failure
 * @...:	printf-style particulars: names, numbers, paths; no trailing period
 *
 * A macro, so that compilers and analyzers see the -1 in "return error_set(...)".
 * The text is cut to fit.
 */
#define error_set(err, kind, ...) error_set_cause((err), (kind), CAUSE_HOST, __VA_ARGS__)
#define error_set_cause(err, kind, cause, ...) \
	(error_fill((err), (kind), (cause), 0, __VA_ARGS__), -1)

/*
 * The same, with ": <strerror(@errnum)>" appended and the cause taken from it:
 * ENOSPC, EXFULL, EDQUOT, EMFILE, ENFILE, ENOMEM, EAGAIN are EXHAUSTED, ETIMEDOUT is TIMEOUT.
 */
#define error_set_errno(err, kind, errnum, ...) \
	(error_fill((err), (kind), CAUSE_COUNT_, (errnum), __VA_ARGS__), -1)

/* VM_ALREADY_EXISTS, VM_NOT_FOUND, STATE_POISONED: all that is needed is the id. */
#define error_set_vm(err, kind, id) \
	(error_fill((err), (kind), CAUSE_HOST, 0, "%s", ""), error_about_vm((err), (id)), -1)

/* SNAPSHOT_ALREADY_EXISTS, SNAPSHOT_NOT_FOUND: the same of a snapshot, which is a VM's. */
#define error_set_snapshot(err, kind, vm, snapshot)          \
	(error_fill((err), (kind), CAUSE_HOST, 0, "%s", ""), \
	 error_about_snapshot((err), (vm), (snapshot)), -1)

/* INVALID_TRANSITION; @from and @to are state names, @to the goal. */
#define error_set_transition(err, id, from_state, to_state) \
	(error_fill_transition((err), (id), (from_state), (to_state)), -1)

/* CAPACITY; @what is the resource with its unit, such as "memory_mib". @err may be a CAPACITY
 * already: then this is one more resource of which there is too little. */
#define error_add_capacity(err, what, asked, left) \
	(error_fill_capacity((err), (what), (asked), (left)), -1)

/**
 * error_add_violation() - one more bad field, and evaluate to -1
 * @err:	empty, or holding earlier violations of the same request
 * @field:	its path from the request, such as "spec.drives[1].path"
 * @...:	printf-style: what is wrong with it
 *
 * The error becomes INVALID_REQUEST (cause INPUT) unless it is of another kind already.
 */
#define error_add_violation(err, field, ...) (error_fill_violation((err), (field), __VA_ARGS__), -1)

/* Adds @more's violations of fields that @err does not name yet. */
void error_merge_violations(Error *err, const Error *more);

void error_fill(Error *err, ErrorKind kind, ErrorCause cause, int errnum, const char *format, ...)
	printf_like(5, 6);
void error_fill_transition(Error *err, const char *id, const char *from, const char *to);
void error_fill_capacity(Error *err, const char *resource, uint64_t asked, uint64_t left);
void error_fill_violation(Error *err, const char *field, const char *format, ...) printf_like(3, 4);

/* Says which VM @err is about, unless it says so already. */
void error_about_vm(Error *err, const char *id);
/* The same of a snapshot and its VM. */
void error_about_snapshot(Error *err, const char *vm, const char *snapshot);

static inline bool error_is_set(const Error *err)
{
	return err->kind != ERROR_NONE;
}

static inline void error_clear(Error *err)
{
	*err = (Error){ 0 };
}

/**
 * error_message() - the words a client sees, as DESIGN's tables have them
 * @buffer:	ERROR_MESSAGE_MAX bytes; cut to fit, NUL-terminated
 *
 * Return: @buffer
 */
const char *error_message(const Error *err, char buffer[static ERROR_MESSAGE_MAX]);

/* The client's next move, from the cause or else from the kind. */
ErrorRetry error_retry(const Error *err);

/**
 * error_next_violation() - walk the violations that fit
 * @at:		0 at first; moved on
 *
 * Return: true with *@field and *@description set, pointing into @err; false at the end.
 */
bool error_next_violation(const Error *err, uint32_t *at, const char **field,
			  const char **description);

/* Stable upper-case names, such as "VM_NOT_FOUND", "TIMEOUT", "AFTER_READ". */
const char *error_kind_name(ErrorKind kind);
const char *error_cause_name(ErrorCause cause);
const char *error_retry_name(ErrorRetry retry);
/* The kind called @name, or ERROR_NONE. */
ErrorKind error_kind_from_name(const char *name);
ErrorCause error_cause_from_name(const char *name);
