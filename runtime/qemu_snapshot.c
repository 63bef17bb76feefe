/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/qemu_internal.h"
#include "runtime/vmm_process.h"

#include <fcntl.h>
#include <string.h>

/*
 * QEMU's state and memory, as a migration to a file and from one. The file is opened here and
 * handed over, so that QEMU needs no right to any path. The guest stands still meanwhile, and so
 * one pass is all there is to it.
 */

enum {
	POLL_US = 20 * USEC_PER_MSEC,
	STALL = 30 * USEC_PER_SEC, /* without a byte more */
	CANCEL_TIMEOUT = 10 * USEC_PER_SEC,
};

static const char fd_name[] = "hearth-state";
static const char fd_uri[] = "fd:hearth-state";

/* As fast as the disk is: bytes a second. */
#define BANDWIDTH (INT64_C(1) << 40)

typedef enum Phase {
	PHASE_NONE,
	PHASE_GOES_ON,
	PHASE_COMPLETED,
	PHASE_FAILED,
} Phase;

typedef struct Migration {
	Phase phase;
	json_int_t done;
	char why[200]; /* FAILED */
} Migration;

static Phase phase_of(const char *status)
{
	static const struct {
		const char *status;
		Phase phase;
	} rows[] = {
		{ "none", PHASE_NONE },
		{ "completed", PHASE_COMPLETED },
		{ "failed", PHASE_FAILED },
		{ "cancelled", PHASE_FAILED },
	};

	for (size_t i = 0; i < array_size(rows); i++)
		if (text_equal(status, rows[i].status))
			return rows[i].phase;
	return status ? PHASE_GOES_ON : PHASE_NONE;
}

static int look(Qmp *qmp, Migration *ret, Error *err)
{
	const char *status, *why;
	json_t *answer = NULL;

	if (qmp_execute(qmp, "query-migrate", &answer, err) < 0)
		return -1;
	*ret = (Migration){ .phase = PHASE_NONE };
	status = json_string_value(json_object_get(answer, "status"));
	why = json_string_value(json_object_get(answer, "error-desc"));
	ret->phase = phase_of(status);
	ret->done =
		json_integer_value(json_object_get(json_object_get(answer, "ram"), "transferred"));
	text_copy(ret->why, sizeof ret->why, why ? why : status ? status : "");
	json_decref(answer);
	return 0;
}

/* Until it is over, whatever it is that goes on. */
static int wait_for_end(Qmp *qmp, const Job *job, Migration *ret, Error *err)
{
	int64_t last = clock_mono_us();
	json_int_t done = 0;

	for (;;) {
		if (look(qmp, ret, err) < 0)
			return -1;
		if (ret->phase != PHASE_GOES_ON)
			return 0;
		if (job && job_cancelled(job))
			return error_set(err, ERROR_SNAPSHOT_FAILED, "given up");
		if (ret->done != done)
			last = clock_mono_us();
		done = ret->done;
		if (clock_mono_us() - last > STALL)
			return error_set_cause(err, ERROR_SNAPSHOT_FAILED, CAUSE_TIMEOUT,
					       "qemu: nothing has moved for %d s",
					       (int)(STALL / USEC_PER_SEC));
		clock_sleep_us(POLL_US);
	}
}

int qemu_end_snapshot(Qmp *qmp, Error *err)
{
	int64_t until = clock_mono_us() + CANCEL_TIMEOUT;
	Migration now;

	for (;;) {
		if (look(qmp, &now, err) < 0)
			return -1;
		if (now.phase != PHASE_GOES_ON)
			return 0;
		if (clock_mono_us() > until)
			return error_set_cause(err, ERROR_VMM_FAILED, CAUSE_TIMEOUT,
					       "qemu: writing its state does not end");
		if (qmp_execute(qmp, "migrate_cancel", NULL, err) < 0)
			return -1;
		clock_sleep_us(POLL_US);
	}
}

/* @err, as the caller's. */
static int blame(Error *err)
{
	err->kind = ERROR_SNAPSHOT_FAILED;
	return -1;
}

static int migrate(Qmp *qmp, const Job *job, int fd, Error *err)
{
	Migration end;

	if (qmp_command(qmp, "migrate-set-parameters",
			json_pack("{s:I}", "max-bandwidth", (json_int_t)BANDWIDTH), NULL,
			err) < 0 ||
	    qmp_send_fd(qmp, fd_name, fd, err) < 0 ||
	    qmp_command(qmp, "migrate", json_pack("{s:s}", "uri", fd_uri), NULL, err) < 0 ||
	    wait_for_end(qmp, job, &end, err) < 0)
		return -1;
	if (end.phase != PHASE_COMPLETED)
		return error_set(err, ERROR_SNAPSHOT_FAILED, "qemu: %s", end.why);
	return 0;
}

/* A new connection: the one it failed on may be of no use. */
static void undo(Job *job, int vmm)
{
	cleanup_(qmp_closep) Qmp *qmp = NULL;
	Error ignored = { 0 };

	if (qemu_connect(&qmp, job, vmm, -1, QEMU_COMMAND_TIMEOUT, &ignored) == 0 &&
	    qemu_end_snapshot(qmp, &ignored) == 0)
		return;
	if (!vmm_process_ends(vmm))
		job->poisoned = true;
}

int qemu_snapshot(Backend *backend, Job *job, const char *dir, bool diff, FieldTexts *drive_names,
		  Error *err)
{
	cleanup_free char *path = text_printf("%s/" SNAPSHOT_STATE, dir);
	cleanup_close int vmm = -1;
	cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	cleanup_(qmp_closep) Qmp *qmp = NULL;

	(void)backend;
	(void)drive_names; /* they are arguments of its command line */
	if (diff)
		return error_set(err, ERROR_UNSUPPORTED, "differential snapshots (qemu)");
	if (fd < 0)
		return error_set_errno(err, ERROR_SNAPSHOT_FAILED, errno, "make %s", path);
	if (vmm_process_open(&vmm, job, "qemu", err) < 0 ||
	    qemu_connect(&qmp, job, vmm, job->cancel_fd, QEMU_COMMAND_TIMEOUT, err) < 0)
		return blame(err);
	if (migrate(qmp, job, fd, err) < 0) {
		/* It serves one client at a time. */
		qmp_close(take_ptr(qmp));
		undo(job, vmm);
		return blame(err);
	}
	if (fsync(fd) < 0)
		return error_set_errno(err, ERROR_SNAPSHOT_FAILED, errno, "sync %s", path);
	return 0;
}

int qemu_read_snapshot(Qmp *qmp, const Job *job, Error *err)
{
	cleanup_free char *path = text_printf("%s/" SNAPSHOT_STATE, job->restore->dir);
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	Migration end;

	if (fd < 0)
		return error_set_errno(err, ERROR_VMM_FAILED, errno, "open %s", path);
	if (qmp_send_fd(qmp, fd_name, fd, err) < 0 ||
	    qmp_command(qmp, "migrate-incoming", json_pack("{s:s}", "uri", fd_uri), NULL, err) <
		    0 ||
	    wait_for_end(qmp, job, &end, err) < 0)
		return -1;
	if (end.phase != PHASE_COMPLETED)
		return error_set(err, ERROR_VMM_FAILED, "qemu: cannot read the snapshot: %s",
				 end.why);
	return 0;
}
