/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/guest_input.h"
#include "runtime/guest_internal.h"
#include "runtime/vm.h"

#include <string.h>

/* The link to the run with @vmm_pid: there is one a run. */
static GuestLink *take_link(Vm *vm, uint32_t vmm_pid, const char *path, bool vsock)
{
	GuestLink *link, *old = NULL;

	lock_take(&vm->lock);
	if (!vm->guest || vm->guest_pid != vmm_pid) {
		old = vm->guest;
		vm->guest = guest_link_new(vm->runtime->guests, path, vsock);
		vm->guest_pid = vmm_pid;
	}
	link = guest_link_ref(vm->guest);
	lock_drop(&vm->lock);
	guest_link_unref(old);
	return link;
}

/* Where the way into @record's guest begins; to free. NULL: there is none. */
static char *way_into(const Vm *vm, const VmRecord *record, bool *vsock)
{
	cleanup_free char *run_dir = vm_run_dir(vm);
	const Job job = {
		.vm_id = vm->id,
		.run_dir = run_dir,
		.spec = record->spec,
		.resolved = record->status.resolved,
		.cancel_fd = -1,
		.backend = vm->backend,
	};

	return vm->backend->ops->guest_path ? vm->backend->ops->guest_path(&job, vsock) : NULL;
}

GuestLink *vm_job_link(Vm *vm, const Job *job)
{
	bool vsock = false;
	cleanup_free char *path =
		vm->backend->ops->guest_path ? vm->backend->ops->guest_path(job, &vsock) : NULL;

	return path ? take_link(vm, job->resolved->vmm_pid, path, vsock) : NULL;
}

GuestLink *vm_guest_link(Vm *vm, const VmRecord *record)
{
	bool vsock = false;
	cleanup_free char *path = way_into(vm, record, &vsock);

	return path ? take_link(vm, record->status.resolved->vmm_pid, path, vsock) : NULL;
}

void guest_way_clear(GuestWay *way)
{
	guest_link_unref(take_ptr(way->link));
	vm_unref(take_ptr(way->vm));
}

int guest_find(Runtime *runtime, const GuestQuestion *question, GuestWay *ret, Error *err)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;
	cleanup_(guest_way_clear) GuestWay way = { 0 };
	const char *backend;

	if (runtime_get_vm(runtime, question->vm_id, question->expected_uid, &record, err) < 0)
		return -1;
	way.vm = vm_find(runtime, question->vm_id);
	if (!way.vm || !text_equal(way.vm->uid, record->uid))
		return error_set_vm(err, ERROR_VM_NOT_FOUND, question->vm_id);
	backend = vm_backend_name(way.vm->backend->ops->id);
	if (!way.vm->backend->ops->guest_path)
		return error_set(err, ERROR_UNSUPPORTED, "guest (%s)", backend);
	if (record->status.state != VM_RUNNING)
		return error_set(err, ERROR_GUEST_METADATA, "the vm is %s: no guest runs",
				 vm_state_name(record->status.state));
	way.link = vm_guest_link(way.vm, record);
	if (!way.link)
		return error_set(err, ERROR_UNSUPPORTED, "guest (%s without spec.devices.vsock)",
				 backend);
	*ret = (GuestWay){
		.vm = take_ptr(way.vm),
		.link = take_ptr(way.link),
		.vmm_pid = record->status.resolved->vmm_pid,
	};
	return 0;
}

void runtime_leave_guests(Runtime *runtime)
{
	guest_hub_stop(runtime->guests);
}

/* A question with one answer. */
typedef struct Ask {
	GuestCall call;
	GuestWay way;
	GuestDone *done;
	void *user;
	char *secret; /* that is set, or with: removed */
	bool removes;
} Ask;

static void answered(GuestCall *call, const json_t *answer, const Error *err)
{
	/* A century is longer than any guest has been up. */
	static const json_int_t longest = INT64_C(3155760000000);
	Ask *ask = container_of(call, Ask, call);
	json_int_t uptime = json_integer_value(json_object_get(answer, "uptime_ms"));

	if (ask->secret && !err)
		vm_note_secret(ask->way.vm, ask->way.vmm_pid, ask->secret, !ask->removes);
	ask->done(ask->user, uptime < 0 || uptime > longest ? 0 : uptime * 1000, err);
	guest_way_clear(&ask->way);
	free(ask->secret);
	free(ask);
}

/* NULL, with @members released, if it cannot be asked. */
static Ask *ask_new(Runtime *runtime, const GuestQuestion *question, const char *op,
		    json_t *members, Error *err)
{
	Ask *ask;
	GuestWay way;

	if (guest_find(runtime, question, &way, err) < 0) {
		json_decref(members);
		return NULL;
	}
	ask = new0(Ask);
	ask->way = way;
	ask->done = question->done;
	ask->user = question->user;
	ask->call = (GuestCall){
		.id = guest_link_next_id(way.link),
		.op = op,
		.request = members,
		.timeout = question->timeout,
		.done = answered,
	};
	return ask;
}

static int ask(Runtime *runtime, const GuestQuestion *question, const char *op, json_t *members,
	       Error *err)
{
	Ask *asked = ask_new(runtime, question, op, members, err);

	if (!asked)
		return -1;
	guest_link_ask(asked->way.link, &asked->call);
	return 0;
}

int runtime_guest_ping(Runtime *runtime, const GuestQuestion *question, Error *err)
{
	return ask(runtime, question, "ping", json_object(), err);
}

json_t *guest_env_object(const GuestEnv *env)
{
	json_t *object = json_object();

	for (size_t i = 0; i < env->count; i++)
		(void)json_object_set_new(object, env->items[i].name,
					  json_string(env->items[i].value));
	return object;
}

int runtime_guest_set_env(Runtime *runtime, const GuestQuestion *question, const GuestEnv *env,
			  Error *err)
{
	json_t *members =
		json_pack("{s:o, s:b}", "env", guest_env_object(env), "replace", (int)env->replace);

	return ask(runtime, question, "set_env", members, err);
}

int runtime_guest_set_secret(Runtime *runtime, const GuestQuestion *question,
			     const GuestSecret *secret, Error *err)
{
	json_t *members = json_pack("{s:s}", "name", secret->name);
	char *text = secret->data ? guest_encode(secret->data, secret->count) : NULL;
	Ask *asked;

	if (text) {
		(void)json_object_set_new(members, "data", json_string(text));
		explicit_bzero(text, strlen(text));
		free(text);
	} else {
		(void)json_object_set_new(members, "remove", json_true());
	}
	asked = ask_new(runtime, question, "set_secret", members, err);
	if (!asked)
		return -1;
	asked->secret = text_dup(secret->name);
	asked->removes = !secret->data;
	guest_link_ask(asked->way.link, &asked->call);
	return 0;
}
