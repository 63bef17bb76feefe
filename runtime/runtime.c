/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/runtime.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "runtime/vm.h"
#include "runtime/vmm_process.h"

#include <jansson.h>
#include <string.h>
#include <sys/param.h>

enum {
	DESK_THREADS = 16,
	ASK_THREADS = 64,
	URGENT_KEPT = 4, /* a stop takes as long as its guest does */
	URGENT_THREADS = 64,
	DESK_QUEUE_MAX = 16384,
	SWEEP_EVERY_SEC = 60,
	SWEEP_GRACE_SEC = 60,
	CLOSE_POLL_MS = 2,
};

/* Work that somebody outside brings along. */
typedef struct Guest {
	Work work;
	Runtime *runtime;
	void (*run)(void *user);
	void *user;
} Guest;

static void run_guest(Work *work)
{
	Guest *guest = container_of(work, Guest, work);

	Runtime *runtime = guest->runtime;

	guest->run(guest->user);
	free(guest);
	runtime->live_guests--;
	runtime->live_operations--;
}

static void submit_guest(Runtime *runtime, Workers *lane, void (*run)(void *), void *user)
{
	Guest *guest = new0(Guest);

	runtime->live_operations++;
	runtime->live_guests++;
	*guest = (Guest){ .work.run = run_guest, .runtime = runtime, .run = run, .user = user };
	workers_submit(lane, &guest->work);
}

bool runtime_run_blocking(Runtime *runtime, Patience patience, void (*work)(void *user), void *user)
{
	Workers *lane = patience == PATIENCE_LONG ? runtime->asking : runtime->desk;

	if (workers_waiting(lane) >= DESK_QUEUE_MAX)
		return false;
	submit_guest(runtime, lane, work, user);
	return true;
}

const RuntimeCounts *runtime_counts(const Runtime *runtime)
{
	return &runtime->counts;
}

void runtime_queues(Runtime *runtime, RuntimeQueues *ret)
{
	*ret = (RuntimeQueues){
		.operations = workers_waiting(runtime->operations),
		.urgent = workers_waiting(runtime->urgent),
		.desk = workers_waiting(runtime->desk),
		.asking = workers_waiting(runtime->asking),
	};
}

/* Who watches the node is told when the store has begun to fail, or does no more. */
static void look_at_store(Runtime *runtime)
{
	bool failing = store_failing(runtime->store, NULL);
	bool changed;

	lock_take(&runtime->lock);
	changed = failing != runtime->store_failed;
	runtime->store_failed = failing;
	lock_drop(&runtime->lock);
	if (changed)
		registry_touch_node(runtime->registry);
}

/* A VM whose end nobody waits for is looked for; one whose keeper hangs, so that nobody tells of
 * the VMM's end, too. */
static void look_after(Vm *vm)
{
	bool has_processes = vm->backend->ops->capabilities & BACKEND_PROCESS;
	cleanup_free char *run_dir = vm_run_dir(vm);
	bool idle, watched;
	uint64_t run;

	lock_take(&vm->lock);
	idle = !vm->running;
	watched = vm->exit_source;
	run = vm->run;
	lock_drop(&vm->lock);
	if (has_processes && idle && !watched)
		vm_run_errand(vm, ERRAND_RECOVER, false);
	if (has_processes && idle && watched && vmm_process_has_ended(run_dir))
		vm_look_into_exit(vm, run);
	vm_catch_up(vm);
}

/* Every minute: what belongs to no VM goes, and each VM is looked after. */
static void keep_house(void *user)
{
	Runtime *runtime = user;
	size_t count;
	cleanup_free Vm **all = vm_all(runtime, &count);

	runtime_sweep(runtime, (int64_t)SWEEP_GRACE_SEC * USEC_PER_SEC);
	runtime_look_at_network(runtime);
	runtime_look_at_capacity(runtime);
	look_at_store(runtime);
	for (size_t i = 0; i < count; i++) {
		look_after(all[i]);
		vm_unref(all[i]);
	}
}

static void arm_sweep(Runtime *runtime);

static void on_sweep(void *user)
{
	Runtime *runtime = user;

	submit_guest(runtime, runtime->desk, keep_house, runtime);
	arm_sweep(user);
}

static void arm_sweep(Runtime *runtime)
{
	LoopSource *source = loop_after(runtime->loop, (int64_t)SWEEP_EVERY_SEC * USEC_PER_SEC,
					on_sweep, NULL, runtime);
	LoopSource *old;

	lock_take(&runtime->lock);
	old = runtime->sweep_source;
	runtime->sweep_source = source;
	lock_drop(&runtime->lock);
	loop_remove(runtime->loop, old);
}

static void sweep_at_start(void *user)
{
	runtime_sweep(user, 0);
}

static void probe(void *user)
{
	Runtime *runtime = user;

	launcher_test(runtime->config.launcher);
	runtime_look_at_network(runtime);
	runtime_probe(runtime);
}

static char *cordon_words(const StoreCordon *cordon)
{
	return text_printf("by %s%s%s", cordon->owner,
			   cordon->reason && cordon->reason[0] ? ": " : "",
			   cordon->reason ? cordon->reason : "");
}

int runtime_refresh_cordon(Runtime *runtime, Error *err)
{
	StoreCordon *cordons = NULL;
	char *words, *old;
	size_t count;

	if (store_list_cordons(runtime->store, &cordons, &count, err) < 0)
		return -1;
	words = count ? cordon_words(&cordons[0]) : NULL;
	store_cordons_free(cordons, count);

	lock_take(&runtime->lock);
	old = runtime->cordon;
	runtime->cordon = words;
	lock_drop(&runtime->lock);
	free(old);
	return 0;
}

int runtime_cordon(Runtime *runtime, const char *owner, const char *reason, Error *err)
{
	if (store_set_cordon(runtime->store, owner, reason, err) < 0 ||
	    runtime_refresh_cordon(runtime, err) < 0)
		return -1;
	registry_touch_node(runtime->registry);
	return 0;
}

int runtime_uncordon(Runtime *runtime, const char *owner, Error *err)
{
	if (store_remove_cordon(runtime->store, owner, err) < 0 ||
	    runtime_refresh_cordon(runtime, err) < 0)
		return -1;
	registry_touch_node(runtime->registry);
	return 0;
}

static int start_threads(Runtime *runtime, Error *err)
{
	runtime->operations = workers_new("operation", 1, runtime->config.max_operations);
	runtime->urgent = workers_new("urgent", URGENT_KEPT, URGENT_THREADS);
	runtime->desk = workers_new("desk", 1, DESK_THREADS);
	runtime->asking = workers_new("asking", 1, ASK_THREADS);
	runtime->console_watch = console_watch_new();
	runtime->guests = guest_hub_new();
	runtime->loop = loop_new();
	if (!runtime->operations || !runtime->urgent || !runtime->desk || !runtime->asking ||
	    !runtime->loop || !runtime->console_watch || !runtime->guests)
		return error_set_errno(err, ERROR_STORE, errno, "start a thread");
	return 0;
}

static void free_backends(Runtime *runtime)
{
	for (VmBackend id = 0; id < VM_BACKEND_COUNT_; id++)
		if (runtime->backends[id])
			runtime->backends[id]->ops->free(runtime->backends[id]);
}

/* NOLINTBEGIN(readability-function-*): the insides of uthash's macros */
static void free_table(Runtime *runtime)
{
	Vm *vm, *following;

	HASH_CLEAR(hh_uid, runtime->uids);
	HASH_ITER(hh, runtime->table, vm, following)
	{
		HASH_DEL(runtime->table, vm);
		vm_unref(vm);
	}
}
/* NOLINTEND(readability-function-*) */

/* What runtime_open_with() was given goes to @runtime's backends. */
static void open_networks(Runtime *runtime, Network *network)
{
	runtime->network = network;
	runtime->software = network_software_new(&runtime->config.network);
	runtime->egress_hub = egress_hub_new();
	runtime_open_leases(runtime);
	for (VmBackend id = 0; id < VM_BACKEND_COUNT_; id++) {
		Backend *backend = runtime->backends[id];

		if (backend)
			backend->network = backend->ops->capabilities & BACKEND_PROCESS
						   ? runtime->network
						   : runtime->software;
	}
	if (network->ops->watch)
		network->ops->watch(network, runtime_take_event, runtime);
}

static void close_networks(Runtime *runtime)
{
	network_free(runtime->network);
	network_free(runtime->software);
	egress_hub_free(runtime->egress_hub);
	lease_pool_free(runtime->slots);
	address_book_free(runtime->addresses);
	budget_free(runtime->budget);
}

/* Threads first, from those that make work to those that carry it out; then what they shared. */
static void runtime_free(Runtime *runtime)
{
	if (runtime->loop)
		loop_stop(runtime->loop);
	if (runtime->network->ops->watch)
		runtime->network->ops->watch(runtime->network, NULL, NULL);
	workers_free(runtime->operations);
	workers_free(runtime->urgent);
	store_close(runtime->store);
	workers_free(runtime->asking);
	workers_free(runtime->desk);
	guest_hub_free(runtime->guests);
	loop_free(runtime->loop);
	console_watch_free(runtime->console_watch);
	free_table(runtime);
	drives_free(runtime);
	runtime_close_catalogs(runtime);
	lease_pool_free(runtime->uids_to_lease);
	registry_free(runtime->registry);
	free_backends(runtime);
	close_networks(runtime);
	free(runtime->cordon);
	free(runtime->state_dir);
	free(runtime->node_id);
	free(runtime);
}
DEFINE_CLEANUP(Runtime *, runtime_free);

static int make_state_dir(const Runtime *runtime, Error *err)
{
	cleanup_free char *vms = text_printf("%s/vms", runtime->state_dir);
	int r;

	if (runtime->state_dir[0] != '/')
		return error_add_violation(err, "state_dir", "must be an absolute path");
	r = file_make_dirs(runtime->state_dir);
	if (r == 0)
		r = file_make_dirs(vms);
	if (r < 0)
		return error_add_violation(err, "state_dir", "%s: %s", runtime->state_dir,
					   strerrordesc_np(-r));
	return 0;
}

int runtime_open_with(Runtime **ret, const RuntimeConfig *config, Backend *backends[],
		      Network *network, Error *err)
{
	cleanup_(runtime_freep) Runtime *runtime = new0(Runtime);

	runtime->config = *config;
	/* Others are not to wait for them. */
	runtime->config.max_restarts =
		MAX(1, MIN(config->max_restarts, config->max_operations / 2));
	runtime->state_dir = text_dup(config->state_dir);
	runtime->node_id = text_dup(config->node_id);
	lock_init(&runtime->table_lock);
	lock_init(&runtime->flat_lock);
	cond_init(&runtime->flattened);
	lock_init(&runtime->works_lock);
	lock_init(&runtime->lock);
	runtime->uids_to_lease = lease_pool_new(config->first_uid, config->uid_count);
	runtime->budget = runtime_budget_new(config);
	for (VmBackend id = 0; id < VM_BACKEND_COUNT_; id++)
		runtime->backends[id] = backends[id];
	open_networks(runtime, network);
	runtime_list_backends(runtime);
	if (make_state_dir(runtime, err) < 0 || runtime_open_catalogs(runtime, err) < 0 ||
	    start_threads(runtime, err) < 0 || runtime_load(runtime, err) < 0)
		return -1;

	runtime_look_at_capacity(runtime);
	runtime_recover(runtime);
	submit_guest(runtime, runtime->desk, sweep_at_start, runtime);
	submit_guest(runtime, runtime->asking, probe, runtime);
	arm_sweep(runtime);
	*ret = take_ptr(runtime);
	return 0;
}

static void *allocate(size_t size)
{
	return must_calloc(size, 1);
}

int runtime_open(Runtime **ret, const RuntimeConfig *config, Error *err)
{
	Backend *backends[VM_BACKEND_COUNT_] = { NULL };
	Network *network = NULL;

	/* Most of what jansson cannot allocate would only be missing in what it makes. */
	json_set_alloc_funcs(allocate, free);
	if (network_open(&network, config->has_network, &config->network, err) < 0)
		return -1;
	backends[VM_BACKEND_IN_MEMORY] = in_memory_new();
	backends[VM_BACKEND_QEMU] = qemu_new(&config->backend);
	backends[VM_BACKEND_FIRECRACKER] = firecracker_new(&config->backend);

	return runtime_open_with(ret, config, backends, network, err);
}

static void give_up_probes(const Runtime *runtime)
{
	for (VmBackend id = 0; id < VM_BACKEND_COUNT_; id++)
		if (runtime->backends[id] && runtime->backends[id]->ops->give_up)
			runtime->backends[id]->ops->give_up(runtime->backends[id]);
}

bool runtime_close(Runtime *runtime, int64_t grace)
{
	int64_t deadline = clock_mono_us() + grace;

	if (!runtime)
		return true;
	/* No more exits and timers, and nothing from guests; what runs may end. */
	guest_hub_stop(runtime->guests);
	loop_stop(runtime->loop);
	runtime_end_restarts(runtime);
	while (runtime->live_operations && clock_mono_us() < deadline) {
		/* No operation of a VM's waits for what they find. */
		if (runtime->live_operations == runtime->live_guests)
			give_up_probes(runtime);
		clock_sleep_us(CLOSE_POLL_MS * (int64_t)USEC_PER_MSEC);
	}
	if (runtime->live_operations)
		return false;
	runtime_free(runtime);
	return true;
}

Registry *runtime_registry(Runtime *runtime)
{
	return runtime->registry;
}

Store *runtime_store(Runtime *runtime)
{
	return runtime->store;
}

ConsoleWatch *runtime_console_watch(Runtime *runtime)
{
	return runtime->console_watch;
}

const RuntimeConfig *runtime_config(const Runtime *runtime)
{
	return &runtime->config;
}

const char *runtime_boot_id(const Runtime *runtime)
{
	return runtime->boot_id;
}

bool runtime_adopted(Runtime *runtime)
{
	bool adopted;

	lock_take(&runtime->lock);
	adopted = runtime->to_adopt == 0;
	lock_drop(&runtime->lock);
	return adopted;
}

void runtime_run_vm(Runtime *runtime, VmOp op, const VmCall *call, VmReply *reply, void *user)
{
	cleanup_(vm_unrefp) Vm *vm = vm_find(runtime, call->vm_id);
	Operation *operation;
	Error err = { 0 };

	if (!vm && op == VM_OP_DESTROY && call->allow_missing) {
		reply(user, NULL, NULL);
		return;
	}
	if (!vm) {
		(void)error_set_vm(&err, ERROR_VM_NOT_FOUND, call->vm_id);
		reply(user, NULL, &err);
		return;
	}
	if (op == VM_OP_UPDATE) {
		vm_update(vm, call, reply, user);
		return;
	}
	operation = operation_new(vm, op, vm_op_name(op), call->principal);
	operation->ladder = call->ladder;
	operation_add_waiter(operation, reply, user, call->return_when);
	vm_request(operation, call);
}

int runtime_get_vm(Runtime *runtime, const char *vm_id, const char *expected_uid, VmRecord **ret,
		   Error *err)
{
	cleanup_(record_unrefp) VmRecord *record = registry_get(runtime->registry, vm_id);

	if (!record)
		return error_set_vm(err, ERROR_VM_NOT_FOUND, vm_id);
	if (expected_uid && expected_uid[0] && strcmp(expected_uid, record->uid) != 0) {
		error_about_vm(err, vm_id);
		return error_set(err, ERROR_CONFLICT, "uid is '%s', expected '%s'", record->uid,
				 expected_uid);
	}
	*ret = take_ptr(record);
	return 0;
}

char *runtime_run_dir(Runtime *runtime, const VmRecord *record)
{
	return text_printf("%s/vms/%s", runtime->state_dir, record->status.resolved->instance_id);
}
