/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/network_host.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/text.h"
#include "netfw/filter.h"
#include "netfw/rules.h"
#include "netfw/tap.h"
#include "runtime/egress.h"
#include "runtime/network_place.h"

#include <inttypes.h>
#include <linux/magic.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/statfs.h>

enum {
	TEND_EVERY = 2000, /* msec */
	NSEC_PER_USEC = 1000,
	FULL_4 = 32,
	FULL_6 = 128,
};

static const char bpf_dir[] = "/sys/fs/bpf";
static const char pin_dir[] = "/sys/fs/bpf/hearth";

typedef struct HostNetwork {
	Network network;
	NetworkConfig config;
	char *uplink;              /* what config points to */
	Prefix gateway4, gateway6; /* family 0: none */
	Filter *filter;
	pthread_t thread;
	bool has_thread;
	int wake;
	Lock lock;
	Cond told;         /* with lock: no sink is being called */
	NetworkSink *sink; /* under lock */
	void *user;        /* under lock */
	bool telling;      /* under lock */
	bool ends;         /* under lock */
} HostNetwork;

static HostNetwork *host_of(Network *network)
{
	return container_of(network, HostNetwork, network);
}

/* What @spec's policy is for the filter. */
static int compile(FilterTable **ret, const HostNetwork *host, const VmSpec *spec, Error *err)
{
	cleanup_(egress_freep) Egress *egress = NULL;

	if (egress_read(&egress, spec->egress, "spec.egress", err) < 0)
		return -1;
	return filter_table_new(ret, egress_policy(egress), host->config.denied,
				host->config.denied_count, err);
}

static int check(Network *network, const VmSpec *spec, Error *err)
{
	cleanup_(filter_table_freep) FilterTable *table = NULL;

	return compile(&table, host_of(network), spec, err);
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
	};

	memcpy(vm.guest4, place->tap.address4.address, sizeof vm.guest4);
	memcpy(vm.host4, place->tap.address4.address, sizeof vm.host4);
	memcpy(vm.gateway4, host->gateway4.address, sizeof vm.gateway4);
	memcpy(vm.guest6, place->tap.address6.address, sizeof vm.guest6);
	memcpy(vm.gateway6, host->gateway6.address, sizeof vm.gateway6);
	memcpy(vm.guest_mac, place->guest_mac, sizeof vm.guest_mac);
	memcpy(vm.gateway_mac, network_gateway_mac, sizeof vm.gateway_mac);
	return vm;
}

/* The filter knows the VM before its tap is up. */
static int attach(Network *network, Job *job, Error *err)
{
	HostNetwork *host = host_of(network);
	cleanup_(filter_table_freep) FilterTable *table = NULL;
	Error ignored = { 0 };
	NetworkPlace place;
	uint32_t ifindex;
	FilterVm vm;

	if (network_place(&place, job->resolved, err) < 0 ||
	    compile(&table, host, job->spec, err) < 0)
		return -1;
	vm = filter_vm(host, &place, job->resolved->network_slot);
	if (!vm.ifindex)
		return error_set(err, ERROR_NETWORK_SETUP, "there is no tap %s", place.tap.name);
	if (filter_add_vm(host->filter, &vm, table, err) < 0)
		return -1;
	if (link_up(&ifindex, &network_links, &place.tap, err) < 0) {
		(void)!filter_remove_vm(host->filter, vm.ifindex, &ignored);
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
	return filter_remove_vm(host->filter, ifindex, err);
}

static int set_policy(Network *network, const VmResolved *resolved, const VmSpec *to, Error *err)
{
	HostNetwork *host = host_of(network);
	cleanup_(filter_table_freep) FilterTable *table = NULL;
	NetworkPlace place;

	if (network_place(&place, resolved, err) < 0 || compile(&table, host, to, err) < 0)
		return -1;
	return filter_set_policy(host->filter, link_index(place.tap.name), table, err);
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

	if (network_place(&place, resolved, err) < 0)
		return -1;
	*(probe->to_vm ? &packet.source : &packet.target) = probe->address;
	return filter_explain(host->filter, link_index(place.tap.name), &packet, ret, err);
}

static int counters(Network *network, const VmResolved *resolved, NetworkCounters *ret, Error *err)
{
	return filter_counters(host_of(network)->filter, resolved->network_slot - 1, &ret->from_vm,
			       &ret->to_vm, err);
}

static void watch(Network *network, NetworkSink *sink, void *user)
{
	HostNetwork *host = host_of(network);

	lock_take(&host->lock);
	while (host->telling)
		cond_wait(&host->told, &host->lock);
	host->sink = sink;
	host->user = user;
	lock_drop(&host->lock);
}

static Prefix address_of(const uint8_t *bytes, uint8_t family)
{
	Prefix address = { .family = family };

	if (!family)
		return address;
	address.length = family == 4 ? FULL_4 : FULL_6;
	memcpy(address.address, bytes, address.length / 8);
	return address;
}

/* One batch of events, to the sink there is. */
typedef struct Batch {
	NetworkSink *sink;
	void *user;
	int64_t offset; /* of the wall clock to the monotonic one, usec */
} Batch;

static void take_event(void *user, const struct filter_event *event)
{
	const Batch *batch = user;
	const NetworkEvent told = {
		.time = (int64_t)(event->time / NSEC_PER_USEC) + batch->offset,
		.slot = event->slot + 1,
		.verdict = event->verdict,
		.to_vm = event->to_vm,
		.protocol = event->protocol,
		.ethertype = event->ethertype,
		.source = address_of(event->source, event->family),
		.target = address_of(event->target, event->family),
		.source_port = event->source_port,
		.target_port = event->target_port,
		.length = event->length,
		.suppressed = event->suppressed,
	};

	if (batch->sink)
		batch->sink(batch->user, &told);
}

/* False: it is to end. */
static bool begin_telling(HostNetwork *host, Batch *ret)
{
	bool ends;

	lock_take(&host->lock);
	ends = host->ends;
	host->telling = !ends;
	*ret = (Batch){ host->sink, host->user, clock_wall_us() - clock_mono_us() };
	lock_drop(&host->lock);
	return !ends;
}

static void end_telling(HostNetwork *host)
{
	lock_take(&host->lock);
	host->telling = false;
	cond_broadcast(&host->told);
	lock_drop(&host->lock);
}

static void *run(void *user)
{
	HostNetwork *host = user;
	struct pollfd fds[] = {
		{ .fd = filter_events_fd(host->filter), .events = POLLIN },
		{ .fd = host->wake, .events = POLLIN },
	};
	int64_t tended = clock_mono_us();
	Batch batch;

	while (begin_telling(host, &batch)) {
		(void)!filter_events_read(host->filter, take_event, &batch);
		end_telling(host);
		if (clock_mono_us() - tended >= TEND_EVERY * INT64_C(1000)) {
			filter_tend(host->filter);
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
	lock_take(&host->lock);
	host->ends = true;
	lock_drop(&host->lock);
	if (host->has_thread) {
		(void)eventfd_write(host->wake, 1);
		(void)pthread_join(host->thread, NULL);
	}
	filter_close(host->filter);
	closep(&host->wake);
	cond_destroy(&host->told);
	free(host->uplink);
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
		.tap_prefix = "h",
		.uplink = host->uplink,
		.masquerade4 = host->config.pool4,
		.masquerade6 = host->config.pool6,
	};
}

static int look(Network *network, char *ret, size_t size, Error *err)
{
	const RulesConfig rules = rules_of(host_of(network));
	uint64_t dropped;

	if (rules_check(&rules, err) < 0 || rules_dropped(&rules, &dropped, err) < 0)
		return -1;
	if (!link_index(network_links.anchor))
		return error_set(err, ERROR_NETWORK_SETUP, "there is no link %s",
				 network_links.anchor);
	(void)snprintf(ret, size,
		       "routed, filtered in BPF; the interlock has dropped %" PRIu64 " packets",
		       dropped);
	return 0;
}

/* The interlock first: nothing passes while the rest is not there. */
static int build(HostNetwork *host, Error *err)
{
	const FilterConfig filter = { .pin_dir = pin_dir, .max_vms = host->config.max_vms };
	const RulesConfig rules = rules_of(host);

	if (network_prepare_host(&host->config, err) < 0 || rules_load(&rules, err) < 0 ||
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
		.check = check,
		.attach = attach,
		.detach = detach,
		.set_policy = set_policy,
		.explain = explain,
		.counters = counters,
		.watch = watch,
		.look = look,
		.free = free_network,
	};
	cleanup_(host_freep) HostNetwork *host = new0(HostNetwork);
	int r;

	host->network.ops = &ops;
	host->network.length4 = config->pool4.length;
	host->config = *config;
	host->uplink = text_dup(config->uplink);
	lock_init(&host->lock);
	cond_init(&host->told);
	host->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	(void)network_gateway(&config->pool4, &host->gateway4);
	(void)network_gateway(&config->pool6, &host->gateway6);
	if (host->wake < 0)
		return error_set_errno(err, ERROR_FIREWALL, errno, "eventfd");
	if (build(host, err) < 0)
		return -1;
	r = pthread_create(&host->thread, NULL, run, host);
	if (r != 0)
		return error_set_errno(err, ERROR_FIREWALL, r, "start the network's thread");
	host->has_thread = true;
	*ret = &take_ptr(host)->network;
	return 0;
}
