/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include "base/text.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

/* clang-format off */
static const struct {
	const char *name;
	ErrorRetry retry;
	const char *message;
} kinds[ERROR_KIND_COUNT_] = {
	[ERROR_NONE] = { "NONE", RETRY_HERE, "" },
#define X(kind, code, retry, message) [ERROR_##kind] = { #kind, RETRY_##retry, message },
	ERROR_TABLE(X)
#undef X
};

static const struct {
	const char *name;
	ErrorRetry retry;
} causes[CAUSE_COUNT_] = {
	[CAUSE_HOST] = { "HOST", RETRY_COUNT_ },
#define X(cause, code, retry) [CAUSE_##cause] = { #cause, RETRY_##retry },
	CAUSE_TABLE(X)
#undef X
};

static const char *const retries[RETRY_COUNT_] = {
#define X(retry) [RETRY_##retry] = #retry,
	RETRY_TABLE(X)
#undef X
};
/* clang-format on */

static ErrorCause cause_of_errno(int errnum)
{
	switch (errnum) {
	case ENOSPC:
	case EXFULL: /* a bridge that has all its ports */
	case EDQUOT:
	case EMFILE:
	case ENFILE:
	case ENOMEM:
	case EAGAIN: /* no more processes or threads */
		return CAUSE_EXHAUSTED;
	case ETIMEDOUT:
		return CAUSE_TIMEOUT;
	default:
		return CAUSE_HOST;
	}
}

void error_fill(Error *err, ErrorKind kind, ErrorCause cause, int errnum, const char *format, ...)
{
	const char *end = err->what + sizeof err->what;
	char *at;
	va_list ap;

	assert(err->kind == ERROR_NONE);
	assert(kind > ERROR_NONE && kind < ERROR_KIND_COUNT_);

	err->kind = kind;
	err->cause = cause == CAUSE_COUNT_ ? cause_of_errno(errnum) : cause;
	va_start(ap, format);
	at = text_vappend(err->what, end, format, ap);
	va_end(ap);
	if (errnum)
		text_append(at, end, ": %s", strerrordesc_np(errnum));
}

void error_about_vm(Error *err, const char *id)
{
	if (!err->vm_id[0])
		text_copy(err->vm_id, sizeof err->vm_id, id);
}

void error_about_snapshot(Error *err, const char *vm, const char *snapshot)
{
	error_about_vm(err, vm);
	if (!err->snapshot_id[0])
		text_copy(err->snapshot_id, sizeof err->snapshot_id, snapshot);
}

void error_fill_transition(Error *err, const char *id, const char *from, const char *to)
{
	error_fill(err, ERROR_INVALID_TRANSITION, CAUSE_HOST, 0, "%s -> %s", from, to);
	error_about_vm(err, id);
	text_copy(err->from, sizeof err->from, from);
	text_copy(err->to, sizeof err->to, to);
}

/* One of what error_next_violation() tells of, if there is room for it. */
static void keep_violation(Error *err, const char *field, const char *description)
{
	char *at = err->violations + err->violation_bytes;
	const char *end = err->violations + sizeof err->violations;

	err->violation_count++;
	if ((size_t)(end - at) < strlen(field) + strlen(description) + 2)
		return;
	at = stpcpy(at, field) + 1;
	at = stpcpy(at, description) + 1;
	err->violation_bytes = (uint32_t)(at - err->violations);
}

void error_fill_capacity(Error *err, const char *resource, uint64_t asked, uint64_t left)
{
	char description[64];
	size_t used = strlen(err->what);

	(void)text_append(description, description + sizeof description,
			  "requested %" PRIu64 ", available %" PRIu64, asked, left);
	keep_violation(err, resource, description);
	if (error_is_set(err)) {
		assert(err->kind == ERROR_CAPACITY);
		(void)text_append(err->what + used, err->what + sizeof err->what, "; %s: %s",
				  resource, description);
		return;
	}
	err->kind = ERROR_CAPACITY;
	err->cause = CAUSE_HOST;
	text_copy(err->resource, sizeof err->resource, resource);
	err->requested = asked;
	err->available = left;
}

void error_fill_violation(Error *err, const char *field, const char *format, ...)
{
	char description[256];
	size_t used = strlen(err->what);
	va_list ap;

	va_start(ap, format);
	(void)text_vappend(description, description + sizeof description, format, ap);
	va_end(ap);

	if (!error_is_set(err)) {
		err->kind = ERROR_INVALID_REQUEST;
		err->cause = CAUSE_INPUT;
	}
	text_append(err->what + used, err->what + sizeof err->what, "%s%s: %s", used ? "; " : "",
		    field, description);
	keep_violation(err, field, description);
}

/* Appends the particular called @name (of @length bytes), or nothing if there is none. */
static char *append_particular(char *at, const char *end, const Error *err, const char *name,
			       size_t length)
{
	const struct {
		const char *name;
		const char *value;
	} texts[] = {
		{ "vm", err->vm_id },  { "snapshot", err->snapshot_id },
		{ "from", err->from }, { "to", err->to },
		{ "what", err->what }, { "resource", err->resource },
	};

	for (size_t i = 0; i < array_size(texts); i++)
		if (strlen(texts[i].name) == length && strncmp(texts[i].name, name, length) == 0)
			return text_append(at, end, "%s", texts[i].value);
	if (strncmp("requested", name, length) == 0)
		return text_append(at, end, "%" PRIu64, err->requested);
	return text_append(at, end, "%" PRIu64, err->available);
}

const char *error_message(const Error *err, char buffer[static ERROR_MESSAGE_MAX])
{
	const char *format = kinds[err->kind].message;
	const char *end = buffer + ERROR_MESSAGE_MAX;
	char *at = buffer;

	*at = '\0';
	while (*format) {
		size_t plain = strcspn(format, "{");
		size_t length;

		at = text_append(at, end, "%.*s", (int)plain, format);
		format += plain;
		if (!*format)
			break;
		length = strcspn(++format, "}");
		at = append_particular(at, end, err, format, length);
		format += length + 1;
	}
	return buffer;
}

ErrorRetry error_retry(const Error *err)
{
	ErrorRetry by_cause = causes[err->cause].retry;

	return by_cause != RETRY_COUNT_ ? by_cause : kinds[err->kind].retry;
}

bool error_next_violation(const Error *err, uint32_t *at, const char **field,
			  const char **description)
{
	if (*at >= err->violation_bytes)
		return false;
	*field = err->violations + *at;
	*description = *field + strlen(*field) + 1;
	*at = (uint32_t)(*description + strlen(*description) + 1 - err->violations);
	return true;
}

const char *error_kind_name(ErrorKind kind)
{
	assert(kind < ERROR_KIND_COUNT_);
	return kinds[kind].name;
}

const char *error_cause_name(ErrorCause cause)
{
	assert(cause < CAUSE_COUNT_);
	return causes[cause].name;
}

const char *error_retry_name(ErrorRetry retry)
{
	assert(retry < RETRY_COUNT_);
	return retries[retry];
}

ErrorKind error_kind_from_name(const char *name)
{
	for (ErrorKind kind = ERROR_NONE + 1; kind < ERROR_KIND_COUNT_; kind++)
		if (strcmp(kinds[kind].name, name) == 0)
			return kind;
	return ERROR_NONE;
}

ErrorCause error_cause_from_name(const char *name)
{
	for (ErrorCause cause = CAUSE_HOST; cause < CAUSE_COUNT_; cause++)
		if (strcmp(causes[cause].name, name) == 0)
			return cause;
	return CAUSE_HOST;
}

/* Has @err a violation of @field? */
static bool is_violated(const Error *err, const char *field)
{
	const char *other, *description;
	uint32_t at = 0;

	while (error_next_violation(err, &at, &other, &description))
		if (strcmp(other, field) == 0)
			return true;
	return false;
}

void error_merge_violations(Error *err, const Error *more)
{
	const char *field, *description;
	uint32_t at = 0;

	while (error_next_violation(more, &at, &field, &description))
		if (!is_violated(err, field))
			(void)error_add_violation(err, field, "%s", description);
}
