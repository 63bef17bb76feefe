/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/health.h"

#include "agent/call.h"
#include "base/lock.h"

#include <grpc/health/v1/health.pb-c.h>
#include <string.h>
#include <sys/queue.h>

typedef Grpc__Health__V1__HealthCheckRequest Request;
typedef Grpc__Health__V1__HealthCheckResponse Response;
typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus ServingStatus;
typedef Grpc__Health__V1__Health_Service Service;

#define STATUS(name) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name

/* What somebody may ask about. */
typedef enum Subject {
	SUBJECT_AGENT,   /* "", and services that are always there */
	SUBJECT_WORK,    /* hearth's services */
	SUBJECT_NOTHING, /* no such service */
} Subject;

typedef struct Watcher {
	Health *health;
	Call *call;
	Subject subject;
	bool told; /* the pump's, as is last */
	ServingStatus last;
	LIST_ENTRY(Watcher) link; /* under lock */
} Watcher;

struct Health {
	Service service; /* first: it is what handlers are given */
	const MethodTable *methods;
	Lock lock;
	bool serving;                  /* under lock */
	size_t watcher_count;          /* under lock */
	LIST_HEAD(, Watcher) watchers; /* under lock */
};

static Subject subject_of(const Health *health, const char *name)
{
	if (!*name)
		return SUBJECT_AGENT;
	for (size_t i = 0; i < health->methods->service_count; i++) {
		if (strcmp(health->methods->services[i]->descriptor->name, name) != 0)
			continue;
		return strncmp(name, "hearth.", 7) == 0 ? SUBJECT_WORK : SUBJECT_AGENT;
	}
	return SUBJECT_NOTHING;
}

static ServingStatus status_of(Health *health, Subject subject)
{
	bool serving;

	if (subject == SUBJECT_NOTHING)
		return STATUS(SERVICE_UNKNOWN);
	if (subject == SUBJECT_AGENT)
		return STATUS(SERVING);
	lock_take(&health->lock);
	serving = health->serving;
	lock_drop(&health->lock);
	return serving ? STATUS(SERVING) : STATUS(NOT_SERVING);
}

static void check(Service *service, const Request *request,
		  Grpc__Health__V1__HealthCheckResponse_Closure closure, void *data)
{
	Health *health = container_of(service, Health, service);
	Subject subject = subject_of(health, request->service);
	Response response;
	Error err = { 0 };

	(void)closure;
	if (subject == SUBJECT_NOTHING) {
		(void)error_set_cause(&err, ERROR_INVALID_REQUEST, CAUSE_MISSING, "no service '%s'",
				      request->service);
		call_fail(data, &err);
		return;
	}
	grpc__health__v1__health_check_response__init(&response);
	response.status = status_of(health, subject);
	call_reply(data, &response.base);
}

static void watcher_pump(Call *call, void *user)
{
	Watcher *watcher = user;
	ServingStatus status = status_of(watcher->health, watcher->subject);
	Response response;

	if ((watcher->told && watcher->last == status) || !call_writable(call))
		return;
	watcher->told = true;
	watcher->last = status;
	grpc__health__v1__health_check_response__init(&response);
	response.status = status;
	call_write(call, &response.base);
}

static void watcher_end(void *user)
{
	Watcher *watcher = user;
	Health *health = watcher->health;

	lock_take(&health->lock);
	LIST_REMOVE(watcher, link);
	health->watcher_count--;
	lock_drop(&health->lock);
	call_unref(watcher->call);
	free(watcher);
}

static void watch(Service *service, const Request *request,
		  Grpc__Health__V1__HealthCheckResponse_Closure closure, void *data)
{
	Health *health = container_of(service, Health, service);
	Watcher *watcher = new0(Watcher);

	(void)closure;
	watcher->health = health;
	watcher->call = call_ref(data);
	watcher->subject = subject_of(health, request->service);
	lock_take(&health->lock);
	LIST_INSERT_HEAD(&health->watchers, watcher, link);
	health->watcher_count++;
	lock_drop(&health->lock);
	call_stream(data, watcher_pump, watcher_end, watcher);
}

Health *health_new(const MethodTable *methods)
{
	Health *health = new0(Health);

	grpc__health__v1__health__init(&health->service, NULL);
	health->service.check = check;
	health->service.watch = watch;
	health->methods = methods;
	lock_init(&health->lock);
	LIST_INIT(&health->watchers);
	return health;
}

void health_free(Health *health)
{
	free(health);
}

ProtobufCService *health_service(Health *health)
{
	return &health->service.base;
}

void health_set_serving(Health *health, bool serving)
{
	cleanup_free Call **calls = NULL;
	size_t count = 0, room;
	Watcher *watcher;

	/* The array is made without the lock; those who come meanwhile see the new value. */
	lock_take(&health->lock);
	health->serving = serving;
	room = health->watcher_count;
	lock_drop(&health->lock);
	calls = new0_array(Call *, room);

	lock_take(&health->lock);
	LIST_FOREACH(watcher, &health->watchers, link)
	if (count < room)
		calls[count++] = call_ref(watcher->call);
	lock_drop(&health->lock);

	for (size_t i = 0; i < count; i++) {
		call_wake(calls[i]);
		call_unref(calls[i]);
	}
}
