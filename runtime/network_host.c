/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/network_host.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/text.h"
#include "netfw/filter.h"
#include "netfw/link.h"
#include "netfw/rules.h"
#include "netfw/tap.h"
#include "runtime/egress.h"

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
	MAC_BYTES = 6,
	FULL_4 = 32,
	FULL_6 = 128,
};

static const char bpf_dir[] = "/sys/fs/bpf";
static const char pin_dir[] = "/sys/fs/bpf/hearth";
static const LinkConfig links = { .group = 0x6874, .anchor = "hearth-anchor" };
/* Of the host's end of every tap; the guest's gateway. */
static const uint8_t gateway_mac[MAC_BYTES] = { 0x02, 0x68, 0x74, 0xff, 0xff, 0xfe };

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

static bool read_mac(uint8_t ret[static MAC_BYTES], const char *text)
{
	unsigned bytes[MAC_BYTES];

	/* NOLINTNEXTLINE(cert-err34-c): two digits each */
	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x", &bytes[0], &bytes[1], &bytes[2], &bytes[3],
		   &bytes[4], &bytes[5]) != MAC_BYTES)
		return false;
	for (size_t i = 0; i < MAC_BYTES; i++)
		ret[i] = (uint8_t)bytes[i];
	return true;
}

/* A VM's place in the network, from what it has been leased. */
typedef struct Place {
	LinkTap tap;
	FilterVm vm;
} Place;

static int find_place(Place *ret, const HostNetwork *host, const VmResolved *resolved, Error *err)
{
	const VmResolvedInterface *interface = network_interface(resolved);
	Place place = { 0 };

	if (!interface || !interface->host_device || !resolved->network_slot ||
	    !read_mac(place.vm.guest_mac, interface->guest_mac))
		return error_set(err, ERROR_NETWORK_SETUP, "the VM has no interface here");
	(void)!prefix_parse_address(&place.tap.address4,
				    interface->ipv4_address ? interface->ipv4_address : "");
	(void)!prefix_parse_address(&place.tap.address6,
				    interface->ipv6_address ? interface->ipv6_address : "");
	place.tap.name = interface->host_device;
	place.tap.mac = gateway_mac;
	place.tap.filtered = true;
	place.vm.slot = resolved->network_slot - 1;
	place.vm.log = true;
	place.vm.new_flows = host->config.new_flows;
	place.vm.has4 = place.tap.address4.family == 4;
	place.vm.has6 = place.tap.address6.family == 6;
	memcpy(place.vm.guest4, place.tap.address4.address, sizeof place.vm.guest4);
	memcpy(place.vm.host4, place.tap.address4.address, sizeof place.vm.host4);
	memcpy(place.vm.gateway4, host->gateway4.address, sizeof place.vm.gateway4);
	memcpy(place.vm.guest6, place.tap.address6.address, sizeof place.vm.guest6);
	memcpy(place.vm.gateway6, host->gateway6.address, sizeof place.vm.gateway6);
	memcpy(place.vm.gateway_mac, gateway_mac, sizeof gateway_mac);
	*ret = place;
	ret->tap.guest_mac = ret->vm.guest_mac;
	return 0;
}

/* The filter knows the VM before its tap is up. */
static int attach(Network *network, Job *job, Error *err)
{
	HostNetwork *host = host_of(network);
	cleanup_(filter_table_freep) FilterTable *table = NULL;
	Error ignored = { 0 };
	uint32_t ifindex;
	Place place;

	if (find_place(&place, host, job->resolved, err) < 0 ||
	    compile(&table, host, job->spec, err) < 0)
		return -1;
	place.vm.ifindex = link_index(place.tap.name);
	if (!place.vm.ifindex)
		return error_set(err, ERROR_NETWORK_SETUP, "there is no tap %s", place.tap.name);
	if (filter_add_vm(host->filter, &place.vm, table, err) < 0)
		return -1;
	if (link_up(&ifindex, &links, &place.tap, err) < 0) {
		(void)!filter_remove_vm(host->filter, place.vm.ifindex, &ignored);
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
	Place place;

	if (find_place(&place, host, resolved, err) < 0 || compile(&table, host, to, err) < 0)
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
	Place place;

	if (find_place(&place, host, resolved, err) < 0)
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

/* The host itself is reached by naming it alone. */
static void deny_own(void *user, const Prefix *address)
{
	NetworkConfig *config = user;

	for (size_t i = 0; i < config->denied_count; i++)
		if (prefix_contains(&config->denied[i], address))
			return;
	if (config->denied_count < NETWORK_DENIED_MAX)
		config->denied[config->denied_count] = *address;
	config->denied_count++;
}

static int deny_host(NetworkConfig *config, Error *err)
{
	if (link_each_address(deny_own, config, err) < 0)
		return -1;
	if (config->denied_count > NETWORK_DENIED_MAX)
		return error_set(err, ERROR_FIREWALL,
				 "with the host's addresses there are %zu always-denied prefixes, "
				 "at most %d",
				 config->denied_count, NETWORK_DENIED_MAX);
	return 0;
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
	if (!link_index(links.anchor))
		return error_set(err, ERROR_NETWORK_SETUP, "there is no link %s", links.anchor);
	(void)snprintf(ret, size,
		       "routed, filtered in BPF; the interlock has dropped %" PRIu64 " packets",
		       dropped);
	return 0;
}

static int load_rules(const HostNetwork *host, Error *err)
{
	const RulesConfig rules = rules_of(host);

	if (rules_enable_forwarding(host->config.pool6.family != 0, err) < 0)
		return -1;
	return rules_load(&rules, err);
}

static int add_gateways(const HostNetwork *host, Error *err)
{
	if (host->gateway4.family && link_add_address("lo", &host->gateway4, err) < 0)
		return -1;
	return host->gateway6.family ? link_add_address("lo", &host->gateway6, err) : 0;
}

/* The interlock first: nothing passes while the rest is not there. */
static int build(HostNetwork *host, Error *err)
{
	const FilterConfig filter = { .pin_dir = pin_dir, .max_vms = host->config.max_vms };

	if (deny_host(&host->config, err) < 0 || load_rules(host, err) < 0 || mount_bpf(err) < 0 ||
	    filter_open(&host->filter, &filter, err) < 0)
		return -1;
	if (link_prepare(&links, err) < 0 ||
	    link_attach(filter_from_vm_fd(host->filter), filter_to_vm_fd(host->filter), err) < 0)
		return -1;
	return add_gateways(host, err);
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
	if (config->enforcement == VM_ENFORCEMENT_IPTABLES)
		return error_set(err, ERROR_UNSUPPORTED, "egress by iptables");
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
