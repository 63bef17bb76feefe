/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * QMP, the language QEMU is driven in: lines of JSON over a unix socket.
 *
 * A Qmp is one connection, of one thread at a time; it is opened for one
 * operation and closed after it, because QEMU serves a monitor's clients one
 * after the other. Every wait is bounded, and ends early when the VMM has
 * ended or the operation is given up.
 *
 * What QEMU sends is not trusted: QmpInput cuts it into lines and reads them
 * without doing any I/O, within bounds.
 */

#include "base/error.h"

#include <jansson.h>

enum {
	QMP_LINE_MAX = 1024 * 1024,
};

typedef enum QmpType {
	QMP_GREETING,
	QMP_RETURN, /* body: what "return" holds */
	QMP_ERROR,  /* text: QEMU's own words */
	QMP_EVENT,  /* text: its name; body: its data, or NULL */
} QmpType;

typedef struct QmpMessage {
	QmpType type;
	int64_t id; /* of the command it answers; -1: it says none */
	char *text;
	json_t *body;
} QmpMessage;

void qmp_message_clear(QmpMessage *message);

/* Bytes that have come in and were not yet read as messages. Zero is empty. */
typedef struct QmpInput {
	char *bytes;
	size_t count, room;
	size_t searched; /* of them, so many hold no line's end */
} QmpInput;

void qmp_input_clear(QmpInput *input);
void qmp_input_add(QmpInput *input, const char *bytes, size_t count);

/**
 * qmp_input_next() - the next whole message
 * @ret:	to clear with qmp_message_clear() when 1 is returned
 *
 * Return: 1; 0: more bytes are needed; -EINVAL: no QMP; -EMSGSIZE: a line longer than
 * QMP_LINE_MAX.
 */
int qmp_input_next(QmpInput *input, QmpMessage *ret) must_check;

typedef struct Qmp Qmp;

typedef struct QmpConfig {
	const char *path;        /* of the socket */
	int vmm_pidfd;           /* readable once QEMU has ended; -1: unknown */
	int cancel_fd;           /* readable once the operation is given up; -1: never */
	int64_t connect_timeout; /* usec, greeting and negotiation included */
	int64_t command_timeout; /* usec, of each command */
} QmpConfig;

/* What can go wrong with each call: VMM_FAILED, with cause TIMEOUT where QEMU was silent. */

/* Connects, tries again while the socket is not there yet. The descriptors stay the caller's. */
int qmp_open(Qmp **ret, const QmpConfig *config, Error *err) must_check;
void qmp_close(Qmp *qmp);
DEFINE_CLEANUP(Qmp *, qmp_close);

/* Runs a command without arguments; @ret (may be NULL) is what it returned, to json_decref(). */
int qmp_execute(Qmp *qmp, const char *command, json_t **ret, Error *err) must_check;

/* The same with @arguments, taken over. */
int qmp_command(Qmp *qmp, const char *command, json_t *arguments, json_t **ret, Error *err)
	must_check;
/* QEMU gets a copy of @fd, which is called @name from then on. */
int qmp_send_fd(Qmp *qmp, const char *name, int fd, Error *err) must_check;

/* query-status: "running", "paused", "prelaunch" and others of QEMU's RunState; to free. */
int qmp_status(Qmp *qmp, char **ret, Error *err) must_check;
