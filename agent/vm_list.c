/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ListVms and ListVmEvents: pages of many records.
 *
 * A page of VMs is put together on the stream threads, from one shared list of
 * the registry, and ends early rather than grow past what gRPC clients take by
 * default. Events come from the store, on a thread that may block.
 */

#include "agent/filter.h"
#include "agent/handlers.h"
#include "agent/page_token.h"
#include "agent/request.h"
#include "agent/wire.h"
#include "base/text.h"

#include <inttypes.h>
#include <string.h>

enum {
	PAGE_BYTES = 3 << 20, /* clients refuse messages of more than 4 MiB */
};

typedef struct ListCall {
	Runtime *runtime;
	VmFilter filter;
	uint32_t page_size;
	uint64_t filters;
	bool goes_on; /* from token */
	PageToken token;
} ListCall;

static uint64_t list_hash(const Hearth__V1__ListVmsRequest *request, unsigned states)
{
	char text[16];
	uint64_t hash = page_hash(PAGE_HASH_START, "vms");

	(void)snprintf(text, sizeof text, "%x", states);
	hash = page_hash(hash, text);
	hash = page_hash(hash, request->tenant);
	return page_hash(hash, request->label_selector);
}

/* The first of @list behind @last. */
static size_t list_behind(const VmList *list, const char *last)
{
	size_t low = 0, high = list->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(list->records[middle]->vm_id, last) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Fills @response's VMs from @at on; answers where it stopped. */
static size_t fill_page(Hearth__V1__ListVmsResponse *response, Arena *arena,
			const ListCall *list_call, const VmList *list, size_t at)
{
	size_t bytes = 0;

	while (at < list->count && response->n_vms < list_call->page_size && bytes < PAGE_BYTES) {
		const VmRecord *record = list->records[at++];
		Hearth__V1__Vm *vm;

		if (!filter_match(&list_call->filter, record))
			continue;
		vm = wire_vm(arena, record);
		bytes += hearth__v1__vm__get_packed_size(vm);
		response->vms[response->n_vms++] = vm;
	}
	return at;
}

static void list_pump(Call *call, void *user)
{
	ListCall *list_call = user;
	const char *id = store_id(runtime_store(list_call->runtime));
	cleanup_(vm_list_unrefp) VmList *list = registry_list(runtime_registry(list_call->runtime));
	cleanup_free Hearth__V1__Vm **vms = new0_array(Hearth__V1__Vm *, list_call->page_size);
	Hearth__V1__ListVmsResponse response;
	char token[PAGE_TOKEN_MAX] = "";
	cleanup_(arena_clear) Arena arena;
	size_t at = list_call->goes_on ? list_behind(list, list_call->token.last) : 0;

	arena_init(&arena, SIZE_MAX);
	if (!list_call->goes_on)
		list_call->token.revision = list->revision;
	hearth__v1__list_vms_response__init(&response);
	response.vms = vms;
	at = fill_page(&response, &arena, list_call, list, at);
	while (at < list->count && !filter_match(&list_call->filter, list->records[at]))
		at++;
	if (at < list->count) {
		text_copy(list_call->token.last, sizeof list_call->token.last,
			  list->records[at - 1]->vm_id);
		page_token_write(token, &list_call->token, id, list_call->filters);
	}
	response.next_page_token = token;
	response.revision = list_call->token.revision;
	response.store_id = message_text(id);
	call_reply(call, &response.base);
}

static void list_end(void *user)
{
	ListCall *list_call = user;

	filter_clear(&list_call->filter);
	free(list_call);
}

DEFINE_CLEANUP(ListCall *, list_end);

/* A token of a revision that is yet to come is of a store that has lost some. */
static int read_token(PageToken *ret, const char *text, Runtime *runtime, uint64_t filters,
		      Error *err)
{
	if (page_token_read(ret, text, store_id(runtime_store(runtime)), filters, err) < 0)
		return -1;
	if (ret->revision > registry_revision(runtime_registry(runtime)))
		return error_set(err, ERROR_PAGE_TOKEN, "revision %" PRIu64 " has not been reached",
				 ret->revision);
	return 0;
}

static void list_vms(Call *call, Runtime *runtime, const Hearth__V1__ListVmsRequest *request)
{
	cleanup_(list_endp) ListCall *list_call = new0(ListCall);
	Error err = { 0 };

	list_call->runtime = runtime;
	filter_set_tenant(&list_call->filter, request->tenant, &err);
	filter_set_selector(&list_call->filter, request->label_selector, &err);
	list_call->filter.states = request_states(request->states, request->n_states, &err);
	list_call->page_size = request_page_size(request->page_size, &err);
	list_call->filters = list_hash(request, list_call->filter.states);
	list_call->goes_on = *request->page_token;
	if (!error_is_set(&err) && list_call->goes_on &&
	    read_token(&list_call->token, request->page_token, list_call->runtime,
		       list_call->filters, &err) < 0)
		list_call->goes_on = false;
	if (!request_fail(call, NULL, &err))
		call_stream(call, list_pump, list_end, take_ptr(list_call));
}

DEFINE_HANDLER(VmService, list_vms, ListVms, ListVmsResponse);

typedef struct EventsCall {
	Call *call;
	Runtime *runtime;
	char vm_id[64];
	char uid[64];
	uint32_t page_size;
	uint64_t filters;
	PageToken token; /* revision: of the last event said */
} EventsCall;

static uint64_t events_hash(const EventsCall *events_call)
{
	uint64_t hash = page_hash(PAGE_HASH_START, "events");

	return page_hash(page_hash(hash, events_call->vm_id), events_call->uid);
}

/* One more than a page, so that it is known whether there is more. */
static int read_events(const EventsCall *events_call, StoreEvent *events, size_t *n, Error *err)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;
	Registry *registry = runtime_registry(events_call->runtime);

	if (store_list_events(runtime_store(events_call->runtime), events_call->vm_id,
			      events_call->uid, events_call->token.revision, events,
			      events_call->page_size + 1, n, err) < 0) {
		*n = 0;
		return -1;
	}
	if (*n > 0 || events_call->token.revision > 0)
		return 0;
	record = registry_get(registry, events_call->vm_id);
	if (record && (!events_call->uid[0] || text_equal(record->uid, events_call->uid)))
		return 0;
	return error_set_vm(err, ERROR_VM_NOT_FOUND, events_call->vm_id);
}

static void reply_events(EventsCall *events_call, const StoreEvent *events, size_t n)
{
	cleanup_free Hearth__V1__VmEvent **refs = new0_array(Hearth__V1__VmEvent *, n);
	Hearth__V1__ListVmEventsResponse response;
	char token[PAGE_TOKEN_MAX] = "";
	cleanup_(arena_clear) Arena arena;
	size_t bytes = 0;

	arena_init(&arena, SIZE_MAX);
	hearth__v1__list_vm_events_response__init(&response);
	response.events = refs;
	while (response.n_events < n && response.n_events < events_call->page_size &&
	       bytes < PAGE_BYTES) {
		Hearth__V1__VmEvent *event = wire_store_event(&arena, &events[response.n_events]);

		bytes += hearth__v1__vm_event__get_packed_size(event);
		refs[response.n_events++] = event;
	}
	if (response.n_events < n) {
		events_call->token.revision = events[response.n_events - 1].revision;
		page_token_write(token, &events_call->token,
				 store_id(runtime_store(events_call->runtime)),
				 events_call->filters);
	}
	response.next_page_token = token;
	call_reply(events_call->call, &response.base);
}

static void work_events(void *user)
{
	EventsCall *events_call = user;
	cleanup_free StoreEvent *events = new0_array(StoreEvent, events_call->page_size + 1);
	Error err = { 0 };
	size_t n = 0;

	if (read_events(events_call, events, &n, &err) < 0)
		call_fail(events_call->call, &err);
	else
		reply_events(events_call, events, n);
	for (size_t i = 0; i < n; i++)
		store_event_clear(&events[i]);
	call_unref(events_call->call);
	free(events_call);
}

static void check_events(EventsCall *ret, const Hearth__V1__ListVmEventsRequest *request,
			 Error *err)
{
	request_check_vm_id(request->vm_id, err);
	request_check_uid(request->uid, err);
	ret->page_size = request_page_size(request->page_size, err);
	if (error_is_set(err))
		return;
	text_copy(ret->vm_id, sizeof ret->vm_id, request->vm_id);
	text_copy(ret->uid, sizeof ret->uid, request->uid);
	ret->filters = events_hash(ret);
	if (*request->page_token &&
	    read_token(&ret->token, request->page_token, ret->runtime, ret->filters, err) < 0)
		ret->token.revision = 0;
}

static void list_vm_events(Call *call, Runtime *runtime,
			   const Hearth__V1__ListVmEventsRequest *request)
{
	EventsCall checked = { .vm_id = "" };
	EventsCall *events_call;
	Error err = { 0 };

	checked.runtime = runtime;
	check_events(&checked, request, &err);
	if (request_fail(call, request->vm_id, &err))
		return;
	checked.call = call_ref(call);
	events_call = new0(EventsCall);
	*events_call = checked;
	if (agent_run_blocking(call, runtime, PATIENCE_SHORT, work_events, events_call))
		return;
	call_unref(call);
	free(events_call);
}

DEFINE_HANDLER(VmService, list_vm_events, ListVmEvents, ListVmEventsResponse);
