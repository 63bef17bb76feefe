/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/network_host.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/text.h"
#include "netfw/filter.h"
#include "netfw/rules.h"
#include "netfw/tap.h"
#include "runtime/egress.h"
#include "runtime/network_names.h"
#include "runtime/network_place.h"
#include "runtime/network_teller.h"
#include "runtime/network_vms.h"

#include <inttypes.h>
#include <linux/magic.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/statfs.h>

enum {
	TEND_EVERY = 2000, /* msec */
	NAMES_TEXT_MAX = 160,
};

static const char bpf_dir[] = "/sys/fs/bpf";
static const char pin_dir[] = "/sys/fs/bpf/hearth";

typedef struct HostNetwork {
	Network network;
	NetworkConfig config;  /* its denied ones without the host's own */
	char *uplink, *bridge; /* what config points to */
	Filter *filter;
	NetworkVms *vms;
	NetworkNames *names; /* NULL: none */
	NetworkTeller teller;
	pthread_t thread;
	bool has_thread;
	int wake;
	Lock lock;
	Cond changed;
	bool changing;     /* under lock: a policy is put in force, one at a time */
	NetworkConfig now; /* while changing: with the host's own addresses denied */
	bool stale;        /* while changing: not all policies are of @now */
	atomic_bool ends;
} HostNetwork;

static HostNetwork *host_of(Network *network)
{
	return container_of(network, HostNetwork, network);
}

/* Policies are put in force one after another, so that none is of addresses that the host has had
 * before. */
static void begin_change(HostNetwork *host)
{
	lock_take(&host->lock);
	while (host->changing)
		cond_wait(&host->changed, &host->lock);
	host->changing = true;
	lock_drop(&host->lock);
}

static void end_change(HostNetwork *host)
{
	lock_take(&host->lock);
	host->changing = false;
	cond_broadcast(&host->changed);
	lock_drop(&host->lock);
}

static int check(Network *network, const VmSpec *spec, Error *err)
{
	cleanup_(egress_unrefp) Egress *egress = NULL;
	cleanup_(filter_table_freep) FilterTable *table = NULL;

	if (egress_read(&egress, spec->egress, "spec.egress", err) < 0)
		return -1;
	return network_names_compile(&table, &host_of(network)->config, egress_policy(egress), err);
}

/* The VM as the filter knows it. */
static FilterVm filter_vm(const HostNetwork *host, const NetworkPlace *place, uint32_t slot)
{
	FilterVm vm = {
		.ifindex = link_index(place->tap.name),
		.slot = slot - 1,
		.log = true,
		.has4 = place->tap.address4.family == 4,
		.has6 = place->tap.address6.family == 6,
		.new_flows = host->config.new_flows,
		.bridged = host->config.bridge,
	};

	memcpy(vm.guest4, place->inner4.address, sizeof vm.guest4);
	memcpy(vm.host4, place->tap.address4.address, sizeof vm.host4);
	memcpy(vm.guest6, place->tap.address6.address, sizeof vm.guest6);
	memcpy(vm.guest_mac, place->guest_mac, sizeof vm.guest_mac);
	memcpy(vm.gateway_mac, network_gateway_mac, sizeof vm.gateway_mac);
	if (vm.bridged)
		return vm; /* no gateway there may open flows to it, as the host may */
	memcpy(vm.gateway4, host->config.gateway4.address, sizeof vm.gateway4);
	memcpy(vm.gateway6, host->config.gateway6.address, sizeof vm.gateway6);
	return vm;
}

/* From now on the filter knows @vm. */
static int add_vm(HostNetwork *host, const FilterVm *vm, const NetworkVm *held, Error *err)
{
	cleanup_(filter_table_freep) FilterTable *table = NULL;
	int r;

	begin_change(host);
	r = network_names_compile(&table, &host->now, egress_policy(held->egress), err);
	if (r == 0)
		r = filter_add_vm(host->filter, vm, table, err);
	if (r == 0)
		network_vms_put(host->vms, held);
	end_change(host);
	return r;
}

/* Before its tap goes: nothing passes any more. */
static int remove_vm(HostNetwork *host, uint32_t ifindex, Error *err)
{
	network_vms_drop(host->vms, ifindex);
	return filter_remove_vm(host->filter, ifindex, err);
}

/* The filter knows the VM before its tap is up. */
static int attach(Network *network, Job *job, Error *err)
{
	HostNetwork *host = host_of(network);
	cleanup_(egress_unrefp) Egress *egress = NULL;
	Error ignored = { 0 };
	NetworkPlace place;
	uint32_t ifindex;
	NetworkVm held;
	FilterVm vm;

	if (network_place(&place, &host_of(network)->config, job->resolved, err) < 0 ||
	    egress_read(&egress, job->spec->egress, "spec.egress", err) < 0)
		return -1;
	vm = filter_vm(host, &place, job->resolved->network_slot);
	if (!vm.ifindex)
		return error_set(err, ERROR_NETWORK_SETUP, "there is no tap %s", place.tap.name);
	held = (NetworkVm){ vm.ifindex, job->resolved->network_slot, place.tap.address4,
			    place.tap.address6, egress };
	if (add_vm(host, &vm, &held, err) < 0)
		return -1;
	if (link_up(&ifindex, &network_links, &place.tap, err) < 0) {
		(void)!remove_vm(host, vm.ifindex, &ignored);
		return -1;
	}
	network_interface(job->resolved)->enforcement = VM_ENFORCEMENT_BPF;
	return 0;
}

static int detach(Network *network, const char *instance_id, Error *err)
{
	HostNetwork *host = host_of(network);
	char name[TAP_NAME_MAX];
	uint32_t ifindex;

	tap_name(name, instance_id, 0);
	ifindex = link_index(name);
	if (!ifindex)
		return 0;
	if (link_down(name, err) < 0)
		return -1;
	return remove_vm(host, ifindex, err);
}

/* Puts @vm's policy in force; while changing. */
static int enforce(HostNetwork *host, const NetworkVm *vm, Error *err)
{
	cleanup_(filter_table_freep) FilterTable *table = NULL;

	if (network_names_compile(&table, &host->now, egress_policy(vm->egress), err) < 0)
		return -1;
	return filter_set_policy(host->filter, vm->ifindex, table, err);
}

static int set_policy(Network *network, const VmResolved *resolved, const VmSpec *to, Error *err)
{
	HostNetwork *host = host_of(network);
	cleanup_(egress_unrefp) Egress *egress = NULL;
	NetworkPlace place;
	NetworkVm vm;
	int r;

	if (network_place(&place, &host_of(network)->config, resolved, err) < 0 ||
	    egress_read(&egress, to->egress, "spec.egress", err) < 0)
		return -1;
	vm = (NetworkVm){ link_index(place.tap.name), resolved->network_slot, place.tap.address4,
			  place.tap.address6, egress };
	begin_change(host);
	r = enforce(host, &vm, err);
	if (r == 0)
		network_vms_put(host->vms, &vm);
	end_change(host);
	return r;
}

static bool same_denied(const NetworkConfig *a, const NetworkConfig *b)
{
	if (a->denied_count != b->denied_count)
		return false;
	for (size_t i = 0; i < a->denied_count; i++)
		if (prefix_compare(&a->denied[i], &b->denied[i]) != 0)
			return false;
	return true;
}

/* The host may have other addresses than when policies were put in force. */
static void follow_host(HostNetwork *host)
{
	NetworkConfig now = host->config;
	Error ignored = { 0 };
	NetworkVm *vms;
	size_t count;

	if (network_deny_host(&now, &ignored) < 0)
		return; /* what was denied stays so; the next look is soon */
	begin_change(host);
	if (host->stale || !same_denied(&now, &host->now)) {
		host->now = now;
		host->stale = false;
		vms = network_vms_all(host->vms, &count);
		for (size_t i = 0; i < count; i++) {
			Error failed = { 0 };

			/* One whose tap has gone meanwhile is dropped, or will be. */
			if (enforce(host, &vms[i], &failed) < 0 && link_is(vms[i].ifindex))
				host->stale = true;
			egress_unref(vms[i].egress);
		}
		free(vms);
	}
	end_change(host);
}

/* VMs that the filter knows, and whose taps are gone. */
static void forget_gone(void *user, uint32_t ifindex, uint32_t slot)
{
	HostNetwork *host = user;
	Error ignored = { 0 };

	(void)slot;
	if (!link_is(ifindex))
		(void)!remove_vm(host, ifindex, &ignored);
}

static void find(Network *network, NetworkFound *found, void *user)
{
	HostNetwork *host = host_of(network);

	(void)!filter_each_vm(host->filter, forget_gone, host);
	network_find_taps(found, user);
}

static int explain(Network *network, const VmResolved *resolved, const NetworkProbe *probe,
		   int *ret, Error *err)
{
	HostNetwork *host = host_of(network);
	FilterProbe packet = {
		.to_vm = probe->to_vm,
		.protocol = probe->protocol,
		.source_port = 40000, /* one that a guest would have taken */
		.target_port = probe->port,
	};
	NetworkPlace place;

	if (network_place(&place, &host_of(network)->config, resolved, err) < 0)
		return -1;
	*(probe->to_vm ? &packet.source : &packet.target) = probe->address;
	return filter_explain(host->filter, link_index(place.tap.name), &packet, ret, err);
}

static int counters(Network *network, const VmResolved *resolved, NetworkCounters *ret, Error *err)
{
	return filter_counters(host_of(network)->filter, resolved->network_slot - 1, &ret->from_vm,
			       &ret->to_vm, err);
}

static size_t leads(Network *network, const VmResolved *resolved, NetworkLead **ret)
{
	Error ignored = { 0 };
	NetworkPlace place;

	*ret = NULL;
	if (network_place(&place, &host_of(network)->config, resolved, &ignored) < 0)
		return 0;
	return network_names_leads(host_of(network)->filter, link_index(place.tap.name), ret);
}

static void watch(Network *network, NetworkSink *sink, void *user)
{
	network_teller_set(&host_of(network)->teller, sink, user);
}

static void *run(void *user)
{
	HostNetwork *host = user;
	struct pollfd fds[] = {
		{ .fd = filter_events_fd(host->filter), .events = POLLIN },
		{ .fd = host->wake, .events = POLLIN },
	};
	int64_t tended = clock_mono_us();

	while (!atomic_load(&host->ends)) {
		network_teller_run(&host->teller, host->filter);
		if (clock_mono_us() - tended >= TEND_EVERY * INT64_C(1000)) {
			filter_tend(host->filter);
			follow_host(host);
			tended = clock_mono_us();
		}
		(void)poll(fds, array_size(fds), TEND_EVERY);
	}
	return NULL;
}

static void host_free(HostNetwork *host)
{
	if (!host)
		return;
	if (host->has_thread) {
		atomic_store(&host->ends, true);
		(void)eventfd_write(host->wake, 1);
		(void)pthread_join(host->thread, NULL);
	}
	network_names_close(host->names);
	filter_close(host->filter);
	network_vms_free(host->vms);
	closep(&host->wake);
	network_teller_destroy(&host->teller);
	cond_destroy(&host->changed);
	free(host->uplink);
	free(host->bridge);
	free(host);
}
DEFINE_CLEANUP(HostNetwork *, host_free);

static void free_network(Network *network)
{
	host_free(host_of(network));
}

static int mount_bpf(Error *err)
{
	struct statfs fs;

	if (statfs(bpf_dir, &fs) == 0 && fs.f_type == BPF_FS_MAGIC)
		return 0;
	if (mount("bpf", bpf_dir, "bpf", 0, NULL) < 0)
		return error_set_errno(err, ERROR_FIREWALL, errno, "mount a BPF file system on %s",
				       bpf_dir);
	return 0;
}

static RulesConfig rules_of(const HostNetwork *host)
{
	return (RulesConfig){
		.table = "hearth",
		.tap_prefix = TAP_PREFIX,
		.uplink = host->uplink,
		.masquerade4 = host->config.pool4, /* by an uplink, which a bridge has none of */
		.masquerade6 = host->config.pool6,
	};
}

static int look(Network *network, char *ret, size_t size, Error *err)
{
	HostNetwork *host = host_of(network);
	const RulesConfig rules = rules_of(host);
	char names[NAMES_TEXT_MAX];
	uint64_t dropped;

	if (rules_check(&rules, err) < 0 || rules_dropped(&rules, &dropped, err) < 0)
		return -1;
	if (host->bridge && link_check_bridge(host->bridge, err) < 0)
		return -1;
	if (!link_index(network_links.anchor))
		return error_set(err, ERROR_NETWORK_SETUP, "there is no link %s",
				 network_links.anchor);
	network_names_tell(host->names, names, sizeof names);
	(void)snprintf(ret, size,
		       "%s%s, filtered in BPF; the interlock has dropped %" PRIu64 " packets; %s",
		       host->bridge ? "ports of bridge " : "routed",
		       host->bridge ? host->bridge : "", dropped, names);
	return 0;
}

/* The interlock first: nothing passes while the rest is not there. */
static int build(HostNetwork *host, Error *err)
{
	const FilterConfig filter = { .pin_dir = pin_dir, .max_vms = host->config.max_vms };
	const RulesConfig rules = rules_of(host);

	host->now = host->config;
	if (network_deny_host(&host->now, err) < 0 ||
	    network_prepare_host(&host->config, err) < 0 || rules_load(&rules, err) < 0 ||
	    mount_bpf(err) < 0 || filter_open(&host->filter, &filter, err) < 0)
		return -1;
	if (link_prepare(&network_links, err) < 0 ||
	    link_attach(filter_from_vm_fd(host->filter), filter_to_vm_fd(host->filter), err) < 0)
		return -1;
	return 0;
}

int network_host_open(Network **ret, const NetworkConfig *config, Error *err)
{
	static const NetworkOps ops = {
		.leases = true,
		.enforcement = VM_ENFORCEMENT_BPF,
		.check = check,
		.attach = attach,
		.detach = detach,
		.find = find,
		.set_policy = set_policy,
		.explain = explain,
		.counters = counters,
		.leads = leads,
		.watch = watch,
		.look = look,
		.free = free_network,
	};
	cleanup_(host_freep) HostNetwork *host = new0(HostNetwork);
	int r;

	host->network.ops = &ops;
	host->network.length4 = config->length4;
	host->config = *config;
	host->config.uplink = host->uplink = text_dup(config->uplink);
	host->config.bridge = host->bridge = text_dup(config->bridge);
	host->vms = network_vms_new();
	lock_init(&host->lock);
	cond_init(&host->changed);
	network_teller_init(&host->teller);
	host->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (host->wake < 0)
		return error_set_errno(err, ERROR_FIREWALL, errno, "eventfd");
	if (build(host, err) < 0 ||
	    network_names_open(&host->names, config,
			       &(NetworkNamesUse){ host->vms, host->filter, &host->teller },
			       err) < 0)
		return -1;
	host->network.names = host->names != NULL;
	r = pthread_create(&host->thread, NULL, run, host);
	if (r != 0)
		return error_set_errno(err, ERROR_FIREWALL, r, "start the network's thread");
	host->has_thread = true;
	*ret = &take_ptr(host)->network;
	return 0;
}
