/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/audit.h"

#include "agent/log.h"
#include "agent/status.h"

#include <fcntl.h>
#include <string.h>

static int audit_fd = -1; /* constant once set, and for the process' life */

int audit_open(const char *path, Error *err)
{
	audit_fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (audit_fd < 0)
		return error_add_violation(err, "audit.file", "%s: %s", path, strerror(errno));
	return 0;
}

static void tell_failure(int errnum)
{
	LogLine line;

	log_begin(&line, LOG_LEVEL_ERROR, "audit failed");
	log_text(&line, "error", strerror(errnum));
	log_end(&line);
}

void audit_call(const ServerFinished *call)
{
	LogLine line;

	if (audit_fd < 0 || !call->mutates)
		return;
	log_begin_always(&line, "audit");
	log_text(&line, "principal", call->principal);
	log_text(&line, "method", call->method);
	log_text(&line, "vm_id", call->vm_id);
	log_text(&line, "trace_id", call->trace_id);
	log_text(&line, "request_id", call->request_id);
	log_text(&line, "code", status_code_name(call->grpc_code));
	if (call->err && error_is_set(call->err))
		log_text(&line, "kind", error_kind_name(call->err->kind));
	log_number(&line, "usec", call->usec);
	log_close(&line);
	if (write(audit_fd, line.text, line.length) != (ssize_t)line.length)
		tell_failure(errno);
}
