/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What takes long with templates: imports, and reading images to verify them.
 *
 * It goes on whether or not anybody still listens; who asks for the same while it
 * goes on joins it. All that the agent does at once is in one table. Safe from any
 * thread; nothing here blocks.
 */

#include "runtime/images/templates.h"
#include "runtime/runtime.h"

typedef struct TemplateRequest {
	const char *template_id; /* a valid id */
	const char *path;        /* import: where the image is; NULL: verify */
	const char *digest;      /* import: what it must have; or empty */
	const char *reference;   /* import: which of several OCI images; or empty */
	uint64_t size;           /* import: of the ext4 made of an OCI image; 0: by its contents */
	bool read_all;           /* verify: as templates_verify() has it */
} TemplateRequest;

typedef struct TemplateProgress {
	uint64_t done, total; /* bytes; total 0: not known yet */
	bool ended;
	Error error;       /* ended, and it failed */
	TemplateInfo info; /* ended well */
} TemplateProgress;

typedef struct TemplateListener TemplateListener;
struct TemplateListener {
	void (*wake)(TemplateListener *listener); /* must not block, nor call back */
	TemplateListener *next;
};

typedef struct TemplateWork TemplateWork;

/**
 * template_work_begin() - begin what @request says, or join it
 * @listener:	woken whenever there is something new to read, ten times a second at most
 * @ret:	a reference; template_work_leave() it
 * @err:	ROOTFS/EXISTS: something else goes on with that template; QUEUE_FULL
 *
 * What else there is against @request is its outcome, as templates_import() and
 * templates_verify() have it.
 */
int template_work_begin(Runtime *runtime, const TemplateRequest *request,
			TemplateListener *listener, TemplateWork **ret, Error *err) must_check;
void template_work_read(TemplateWork *work, TemplateProgress *ret);
void template_work_leave(TemplateWork *work, TemplateListener *listener);

/* An import that goes on. */
typedef struct TemplateImporting {
	char template_id[ERROR_ID_MAX];
	uint64_t done, total;
} TemplateImporting;

/* All of them, up to @max; how many. */
size_t template_works_list(Runtime *runtime, TemplateImporting *ret, size_t max);
