/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/agent.h"

#include "base/clock.h"
#include "base/descriptors.h"
#include "base/file.h"
#include "base/text.h"

#include <inttypes.h>
#include <string.h>
#include <sys/utsname.h>

/* The value of the first line of @path that begins with @key, behind its colon. */
static void read_value(char *ret, size_t size, const char *path, const char *key)
{
	cleanup_free char *text = NULL;
	char *at, *end;

	ret[0] = '\0';
	if (file_read(&text, NULL, path, 4U << 20) < 0)
		return;
	at = strncmp(text, key, strlen(key)) == 0 ? text : strstr(text, key);
	if (!at || !(at = strchr(at, ':')))
		return;
	at += 1 + strspn(at + 1, " \t");
	end = at + strcspn(at, "\n");
	*end = '\0';
	text_copy(ret, size, at);
}

static void look_at_host(Agent *agent)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct utsname names;

	agent->cpus = cpus > 0 ? (uint64_t)cpus : 1;
	read_value(agent->cpu_model, sizeof agent->cpu_model, "/proc/cpuinfo", "model name");
	if (uname(&names) == 0)
		text_copy(agent->kernel, sizeof agent->kernel, names.release);
}

int agent_new(Agent **ret, const Config *config, Error *err)
{
	cleanup_(agent_freep) Agent *agent = new0(Agent);

	agent->config = config;
	agent->start_time = clock_wall_us();
	lock_init(&agent->lock);
	look_at_host(agent);
	agent->loop = loop_new();
	if (!agent->loop)
		return error_set_errno(err, ERROR_STORE, errno, "start a thread");
	*ret = take_ptr(agent);
	return 0;
}

void agent_free(Agent *agent)
{
	if (agent->loop)
		loop_free(agent->loop);
	launcher_free(agent->launcher);
	free(agent);
}

int64_t agent_condition_since(Agent *agent, NodeCondition condition, ConditionStatus status)
{
	int64_t now = clock_wall_us();
	int64_t since;

	lock_take(&agent->lock);
	if (agent->conditions[condition].status != status) {
		agent->conditions[condition].status = status;
		agent->conditions[condition].since = now;
	}
	since = agent->conditions[condition].since;
	lock_drop(&agent->lock);
	return since;
}

Runtime *agent_runtime(Call *call)
{
	Runtime *runtime = atomic_load_explicit(&agent_of(call)->runtime, memory_order_acquire);
	Error err = { 0 };

	if (runtime)
		return runtime;
	(void)error_set(&err, ERROR_STORE, "is being opened");
	err.retry_delay_ms = 500;
	call_fail(call, &err);
	return NULL;
}

bool agent_run_blocking(Call *call, Runtime *runtime, Patience patience, void (*work)(void *user),
			void *user)
{
	Error err = { 0 };

	if (runtime_run_blocking(runtime, patience, work, user))
		return true;
	(void)error_set(&err, ERROR_QUEUE_FULL, "too many calls wait for a thread");
	call_fail(call, &err);
	return false;
}

static void wake(void *user)
{
	call_wake(user);
}

static void release(void *user)
{
	call_unref(user);
}

LoopSource *agent_wake_after(Call *call, int64_t delay)
{
	LoopSource *source = NULL;

	(void)call_ref(call);
	if (descriptors_left()) /* a timer has one */
		source = loop_after(agent_of(call)->loop, delay, wake, release, call);
	if (!source)
		call_unref(call);
	return source;
}
