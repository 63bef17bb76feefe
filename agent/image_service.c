/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ImageService. The catalog is files: all that looks at it does so on a thread
 * that may block. What takes long is the runtime's (runtime/template_works.h), and a
 * stream tells how far it is.
 */

#include "agent/handlers.h"
#include "agent/request.h"
#include "agent/status.h"
#include "agent/wire.h"
#include "base/text.h"
#include "runtime/template_works.h"

#include <string.h>

enum {
	IMPORTS_MAX = 64, /* that ListTemplates shows */
	MIB = 1 << 20,
};

/* A template and what its message points to. */
typedef struct TemplateForm {
	Hearth__V1__Template message;
	Google__Protobuf__Timestamp time;
	TemplateInfo info;
} TemplateForm;

static void form_fill(TemplateForm *form, const TemplateInfo *info)
{
	Hearth__V1__Template *to = &form->message;
	char message[ERROR_MESSAGE_MAX];
	const Error *problem = &form->info.problem;

	form->info = *info;
	hearth__v1__template__init(to);
	to->template_id = form->info.name;
	to->state = HEARTH__V1__TEMPLATE_STATE__TEMPLATE_STATE_READY;
	to->size_bytes = info->size;
	to->allocated_bytes = info->allocated;
	to->extents = info->extents;
	to->users = (uint32_t)info->users;
	if (info->stamped) {
		wire_time(&form->time, info->stamp.stamped);
		to->stamp_time = &form->time;
		to->sha256 = form->info.stamp.digest;
		to->source = form->info.stamp.source;
	}
	if (error_is_set(problem)) {
		to->state = HEARTH__V1__TEMPLATE_STATE__TEMPLATE_STATE_DAMAGED;
		to->problem =
			status_new(error_kind_name(problem->kind), error_cause_name(problem->cause),
				   error_message(problem, message), "");
	}
}

static void form_clear(TemplateForm *form)
{
	if (form->message.problem)
		google__rpc__status__free_unpacked(form->message.problem, NULL);
}

/* A request on its way to a thread that may block. */
typedef struct ImageJob {
	Call *call;
	Runtime *runtime;
	char template_id[ERROR_ID_MAX];
	bool allow_missing;
} ImageJob;

static void job_free(ImageJob *job)
{
	call_unref(job->call);
	free(job);
}
DEFINE_CLEANUP(ImageJob *, job_free);

static void run_job(Call *call, Runtime *runtime, const char *template_id, bool allow_missing,
		    void (*work)(void *user))
{
	ImageJob *job = new0(ImageJob);

	job->call = call_ref(call);
	job->runtime = runtime;
	text_copy(job->template_id, sizeof job->template_id, template_id);
	job->allow_missing = allow_missing;
	if (!agent_run_blocking(call, runtime, PATIENCE_SHORT, work, job))
		job_free(job);
}

/* Those that are being imported are not in the catalog yet. */
static void fill_importing(TemplateForm *form, const TemplateImporting *importing)
{
	form_fill(form, &(TemplateInfo){ .stamped = false });
	text_copy(form->info.name, sizeof form->info.name, importing->template_id);
	form->message.state = HEARTH__V1__TEMPLATE_STATE__TEMPLATE_STATE_IMPORTING;
	form->message.done_bytes = importing->done;
	form->message.total_bytes = importing->total;
}

static int compare(const void *a, const void *b)
{
	const Hearth__V1__Template *const *first = a, *const *second = b;

	return strcmp((*first)->template_id, (*second)->template_id);
}

static void reply_list(Call *call, const TemplateInfo *infos, size_t count,
		       const TemplateImporting *imports, size_t import_count)
{
	size_t all = count + import_count;
	cleanup_free TemplateForm *forms = new0_array(TemplateForm, all);
	cleanup_free Hearth__V1__Template **refs = new0_array(Hearth__V1__Template *, all);
	Hearth__V1__ListTemplatesResponse answer = HEARTH__V1__LIST_TEMPLATES_RESPONSE__INIT;

	answer.templates = refs;
	answer.n_templates = all;
	for (size_t i = 0; i < all; i++) {
		if (i < count)
			form_fill(&forms[i], &infos[i]);
		else
			fill_importing(&forms[i], &imports[i - count]);
		refs[i] = &forms[i].message;
	}
	if (all)
		qsort((void *)refs, all, sizeof(void *), compare);
	call_reply(call, &answer.base);
	for (size_t i = 0; i < all; i++)
		form_clear(&forms[i]);
}

static void work_list(void *user)
{
	cleanup_(job_freep) ImageJob *job = user;
	TemplateImporting imports[IMPORTS_MAX];
	size_t import_count = template_works_list(job->runtime, imports, IMPORTS_MAX);
	cleanup_free TemplateInfo *infos = NULL;
	Error err = { 0 };
	size_t count;

	if (templates_list(runtime_templates(job->runtime), &infos, &count, &err) < 0)
		call_fail(job->call, &err);
	else
		reply_list(job->call, infos, count, imports, import_count);
}

static void list_templates(Call *call, Runtime *runtime,
			   const Hearth__V1__ListTemplatesRequest *request)
{
	(void)request;
	run_job(call, runtime, "", false, work_list);
}

static void work_get(void *user)
{
	cleanup_(job_freep) ImageJob *job = user;
	TemplateInfo info;
	TemplateForm form;
	Error err = { 0 };

	if (templates_get(runtime_templates(job->runtime), job->template_id, &info, &err) < 0) {
		call_fail(job->call, &err);
		return;
	}
	form_fill(&form, &info);
	call_reply(job->call, &form.message.base);
	form_clear(&form);
}

static void get_template(Call *call, Runtime *runtime,
			 const Hearth__V1__GetTemplateRequest *request)
{
	Error err = { 0 };

	request_check_id("template_id", request->template_id, &err);
	if (!request_fail(call, NULL, &err))
		run_job(call, runtime, request->template_id, false, work_get);
}

static void work_delete(void *user)
{
	cleanup_(job_freep) ImageJob *job = user;
	Hearth__V1__DeleteTemplateResponse answer = HEARTH__V1__DELETE_TEMPLATE_RESPONSE__INIT;
	Error err = { 0 };
	int r = templates_delete(runtime_templates(job->runtime), job->template_id, &err);

	if (r < 0 && !(job->allow_missing && err.cause == CAUSE_MISSING))
		call_fail(job->call, &err);
	else
		call_reply(job->call, &answer.base);
}

static void delete_template(Call *call, Runtime *runtime,
			    const Hearth__V1__DeleteTemplateRequest *request)
{
	Error err = { 0 };

	request_check_id("template_id", request->template_id, &err);
	if (!request_fail(call, NULL, &err))
		run_job(call, runtime, request->template_id, request->allow_missing, work_delete);
}

/* One who listens to work that takes long; only its pump and its end touch it. Both streams'
 * answers are alike, but for their types. */
typedef struct ImageStream {
	TemplateListener listener;
	Call *call;
	TemplateWork *work;
	bool imports;
	uint64_t told; /* done, as last sent */
} ImageStream;

static void wake(TemplateListener *listener)
{
	call_wake(container_of(listener, ImageStream, listener)->call);
}

static void stream_end(void *user)
{
	ImageStream *stream = user;

	template_work_leave(stream->work, &stream->listener);
	call_unref(stream->call);
	free(stream);
}

static void write_import(Call *call, const TemplateProgress *progress, Hearth__V1__Template *last)
{
	Hearth__V1__ImportTemplateResponse answer = HEARTH__V1__IMPORT_TEMPLATE_RESPONSE__INIT;

	answer.done_bytes = progress->done;
	answer.total_bytes = progress->total;
	answer.template_ = last;
	call_write(call, &answer.base);
}

static void write_verify(Call *call, const TemplateProgress *progress, Hearth__V1__Template *last)
{
	Hearth__V1__VerifyTemplateResponse answer = HEARTH__V1__VERIFY_TEMPLATE_RESPONSE__INIT;

	answer.done_bytes = progress->done;
	answer.total_bytes = progress->total;
	answer.template_ = last;
	call_write(call, &answer.base);
}

static void stream_pump(Call *call, void *user)
{
	ImageStream *stream = user;
	void (*tell)(Call *, const TemplateProgress *, Hearth__V1__Template *) =
		stream->imports ? write_import : write_verify;
	TemplateProgress progress;
	TemplateForm form;

	template_work_read(stream->work, &progress);
	if (call_ended(call))
		return;
	if (!progress.ended) {
		if (progress.done != stream->told && call_writable(call))
			tell(call, &progress, NULL);
		stream->told = progress.done;
		return;
	}
	if (error_is_set(&progress.error)) {
		call_fail(call, &progress.error);
		return;
	}
	form_fill(&form, &progress.info);
	tell(call, &progress, &form.message);
	form_clear(&form);
	call_finish(call);
}

static void begin(Call *call, Runtime *runtime, const TemplateRequest *request)
{
	ImageStream *stream = new0(ImageStream);
	Error err = { 0 };

	stream->listener.wake = wake;
	stream->call = call_ref(call);
	stream->imports = request->path;
	if (template_work_begin(runtime, request, &stream->listener, &stream->work, &err) == 0) {
		call_stream(call, stream_pump, stream_end, stream);
		return;
	}
	call_fail(call, &err);
	call_unref(stream->call);
	free(stream);
}

static void import_template(Call *call, Runtime *runtime,
			    const Hearth__V1__ImportTemplateRequest *request)
{
	const TemplateRequest asked = {
		.template_id = request->template_id,
		.path = request->path,
		.digest = request->sha256,
		.reference = request->reference,
		.size = (uint64_t)request->size_mib * MIB,
	};
	Error err = { 0 };

	request_check_id("template_id", request->template_id, &err);
	if (request->path[0] != '/' || strlen(request->path) >= PATH_MAX)
		(void)error_add_violation(&err, "path", "must be an absolute path");
	if (*request->sha256 && !disk_digest_is_valid(request->sha256))
		(void)error_add_violation(&err, "sha256",
					  "must be 64 lower-case hexadecimal digits");
	if (request->size_mib > SPEC_DRIVE_MIB_MAX)
		(void)error_add_violation(&err, "size_mib", "must be at most %d",
					  SPEC_DRIVE_MIB_MAX);
	if (!request_fail(call, NULL, &err))
		begin(call, runtime, &asked);
}

static void verify_template(Call *call, Runtime *runtime,
			    const Hearth__V1__VerifyTemplateRequest *request)
{
	const TemplateRequest asked = {
		.template_id = request->template_id,
		.read_all = !request->if_changed,
	};
	Error err = { 0 };

	request_check_id("template_id", request->template_id, &err);
	if (!request_fail(call, NULL, &err))
		begin(call, runtime, &asked);
}

static DEFINE_HANDLER(ImageService, import_template, ImportTemplate, ImportTemplateResponse);
static DEFINE_HANDLER(ImageService, list_templates, ListTemplates, ListTemplatesResponse);
static DEFINE_HANDLER(ImageService, get_template, GetTemplate, Template);
static DEFINE_HANDLER(ImageService, verify_template, VerifyTemplate, VerifyTemplateResponse);
static DEFINE_HANDLER(ImageService, delete_template, DeleteTemplate, DeleteTemplateResponse);

Hearth__V1__ImageService_Service image_service = HEARTH__V1__IMAGE_SERVICE__INIT(handle_);
