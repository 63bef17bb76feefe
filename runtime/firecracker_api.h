/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Firecracker's API: HTTP over a unix socket, one request after another.
 *
 * A handle is for one operation on one thread, so that Firecracker, which
 * takes ten connections at most, never sees two of one VM's for long. Every
 * wait ends early when the VMM has ended, the operation is given up, or the
 * time of that kind of request is over. A 503 is tried again within the time.
 *
 * The directory of the socket may be the VMM's own to write in. So the socket
 * is looked up once for a handle, must be one itself and no link to another's,
 * and is connected to by that reference, which also lets its path be long.
 */

#include "base/error.h"

#include <jansson.h>

/* Kinds of request; each has its time. */
typedef enum FirecrackerKind {
	FIRECRACKER_LOOK,      /* GET: state and version */
	FIRECRACKER_CONFIGURE, /* PUT before the boot */
	FIRECRACKER_BOOT,      /* InstanceStart: reads the kernel */
	FIRECRACKER_SWITCH,    /* pause and resume */
	FIRECRACKER_ACT,       /* other actions */
	FIRECRACKER_SNAPSHOT,  /* writes or maps the guest's memory */
	FIRECRACKER_KIND_COUNT_,
} FirecrackerKind;

/* One request. @body is borrowed; NULL: none. */
typedef struct FirecrackerCall {
	FirecrackerKind kind;
	const char *method, *path;
	const json_t *body;
} FirecrackerCall;

typedef struct FirecrackerApiConfig {
	const char *socket_path;
	int vmm_pidfd; /* of the VMM; -1: not watched */
	int cancel_fd; /* readable: give up; -1: never */
	/* usec; 0: the kind's own */
	int64_t timeouts[FIRECRACKER_KIND_COUNT_];
} FirecrackerApiConfig;

typedef struct FirecrackerApi FirecrackerApi;

enum {
	FIRECRACKER_REPLY_MAX = 64 * 1024,
};

/**
 * firecracker_api_open() - a handle; sends nothing yet
 * @config:	copied
 */
int firecracker_api_open(FirecrackerApi **ret, const FirecrackerApiConfig *config, Error *err)
	must_check;
void firecracker_api_close(FirecrackerApi *api); /* accepts NULL */
DEFINE_CLEANUP(FirecrackerApi *, firecracker_api_close);

/**
 * firecracker_api_wait() - look the socket up anew, and wait until somebody listens on it
 * @timeout:	usec
 * @err:	VMM_FAILED; CAUSE_TIMEOUT when nobody did in time
 */
int firecracker_api_wait(FirecrackerApi *api, int64_t timeout, Error *err) must_check;

/**
 * firecracker_api_call() - one request and its answer
 * @ret:	the answer's object, the caller's; NULL for an empty answer. May be NULL.
 * @err:	VMM_FAILED: request, HTTP status and Firecracker's fault message, or why there was
 *		no answer; CAUSE_TIMEOUT when its time was over
 *
 * After a failure other than a refusal it is unknown whether the request was carried out.
 */
int firecracker_api_call(FirecrackerApi *api, const FirecrackerCall *call, json_t **ret, Error *err)
	must_check;

/* Did Firecracker itself refuse the last call? Then the error has its own words already. */
bool firecracker_api_refused(const FirecrackerApi *api);

/* GET /: what the VMM says of itself. */
typedef struct FirecrackerInfo {
	char state[24]; /* "Not started", "Running", "Paused" */
	char version[64];
} FirecrackerInfo;

int firecracker_api_info(FirecrackerApi *api, FirecrackerInfo *ret, Error *err) must_check;
