/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/egress_view.h"
#include "agent/ctl/format.h"
#include "agent/ctl/rate.h"
#include "agent/ctl/vm_view.h"
#include "base/clock.h"
#include "base/text.h"

#include <inttypes.h>
#include <string.h>

/* describe: what was asked for and what was made of it, in the words of create's options. */

/* What the contract says an agent takes where the spec is silent. */
static const uint32_t default_cid = 3;
static const char default_address[] = "169.254.169.254";

/* Adds "NAME=VALUE" to *@items where the value is not the unspecified one. */
static void add_enum(char **items, const char *name, const ProtobufCEnumDescriptor *names,
		     int value)
{
	char text[40];

	if (value)
		list_add(items, ", ", "%s=%s", name, enum_text(names, value, text));
}

static void add_flag(char **items, bool flag, const char *words)
{
	if (flag)
		list_add(items, ", ", "%s", words);
}

/* Adds "rx-bw=10m/1s, rx-ops=100/1s", with "rx-" for @direction. */
static void add_limiter(char **items, const char *direction, const Hearth__V1__RateLimiter *limiter)
{
	char text[RATE_TEXT_MAX];

	if (limiter && limiter->bandwidth)
		list_add(items, ", ", "%sbw=%s", direction,
			 rate_text(limiter->bandwidth, RATE_BYTES, text));
	if (limiter && limiter->ops)
		list_add(items, ", ", "%sops=%s", direction,
			 rate_text(limiter->ops, RATE_OPERATIONS, text));
}

static void describe_restart(const Hearth__V1__RestartPolicy *policy)
{
	char limit[FORMAT_MAX] = "";
	char name[40] = "never";

	if (policy->mode)
		(void)enum_text(&hearth__v1__restart_mode__descriptor, (int)policy->mode, name);
	if (policy->max_restarts)
		(void)text_append(limit, limit + sizeof limit, ", at most %u in a row",
				  policy->max_restarts);
	print_field("Restart:", "%s%s", name, limit);
}

static void describe_policy(const Hearth__V1__VmSpec *spec)
{
	cleanup_free char *labels = vm_labels_text(spec);
	char name[40] = "stop";
	char time[FORMAT_MAX];

	print_field("Labels:", "%s", labels ? labels : "");
	if (spec->desired_state)
		print_field("Desired:", "%s",
			    enum_text(&hearth__v1__desired_state__descriptor,
				      (int)spec->desired_state, name));
	if (spec->restart_policy)
		describe_restart(spec->restart_policy);
	if (!spec->expires_at)
		return;
	text_copy(name, sizeof name, "stop");
	if (spec->expire_action)
		(void)enum_text(&hearth__v1__expire_action__descriptor, (int)spec->expire_action,
				name);
	print_field("Expires:", "%s, then %s", format_time(spec->expires_at, time), name);
}

static void describe_machine(const Hearth__V1__Machine *machine,
			     const Hearth__V1__Resolved *resolved)
{
	Hearth__V1__Machine plain;
	cleanup_free char *items = NULL;
	char text[FORMAT_MAX];
	uint64_t memory_mib;
	uint32_t vcpus;

	hearth__v1__machine__init(&plain);
	if (!machine)
		machine = &plain;
	/* The agent's defaults count, where it has told them. */
	vcpus = resolved ? resolved->vcpus : machine->vcpus;
	memory_mib = resolved ? resolved->memory_mib : machine->memory_mib;
	if (vcpus)
		list_add(&items, ", ", "%u vCPU", vcpus);
	if (memory_mib)
		list_add(&items, ", ", "%s", format_mib(memory_mib, text));
	add_flag(&items, machine->smt, "smt");
	add_enum(&items, "huge-pages", &hearth__v1__huge_pages__descriptor,
		 (int)machine->huge_pages);
	add_enum(&items, "cpu-template", &hearth__v1__cpu_template__descriptor,
		 (int)machine->cpu_template);
	if (*machine->cpu_config)
		list_add(&items, ", ", "cpu-config of %zu bytes", strlen(machine->cpu_config));
	add_flag(&items, machine->track_dirty_pages, "dirty pages tracked");
	print_field("Machine:", "%s", items ? items : "");
}

static void describe_drive(const Hearth__V1__Drive *drive)
{
	cleanup_free char *items = NULL;

	char size[FORMAT_MAX];

	add_flag(&items, drive->is_root, "root");
	if (drive->size_mib)
		list_add(&items, ", ", "%s", format_mib(drive->size_mib, size));
	list_add(&items, ", ", "%s", drive->read_only ? "read-only" : "read-write");
	add_enum(&items, "cache", &hearth__v1__cache_type__descriptor, (int)drive->cache_type);
	add_enum(&items, "io", &hearth__v1__io_engine__descriptor, (int)drive->io_engine);
	add_limiter(&items, "", drive->rate_limiter);
	print_field("Drive:", "%s %s%s (%s)", drive->drive_id,
		    *drive->path           ? ""
		    : drive->from_snapshot ? "of the snapshot"
					   : "of template ",
		    *drive->path ? drive->path : drive->template_id, items);
}

/* What was asked for where nothing was leased. */
static void add_address(char **items, const char *name, const char *asked, const char *leased)
{
	if (*leased || *asked)
		list_add(items, ", ", "%s=%s", name, *leased ? leased : asked);
}

static void add_addresses(char **items, const Hearth__V1__NetworkInterface *asked,
			  const Hearth__V1__ResolvedInterface *leased)
{
	add_address(items, "mac", asked->guest_mac, leased ? leased->guest_mac : "");
	add_address(items, "ip", asked->ipv4_address, leased ? leased->ipv4_address : "");
	add_address(items, "ip6", asked->ipv6_address, leased ? leased->ipv6_address : "");
	if (leased)
		add_enum(items, "enforcement", &hearth__v1__enforcement__descriptor,
			 (int)leased->enforcement);
}

static void describe_egress(const Hearth__V1__EgressPolicy *policy)
{
	for (size_t i = 0; i < policy->n_rules; i++) {
		cleanup_free char *peers = egress_peers_text(policy->rules[i]);
		cleanup_free char *ports = egress_ports_text(policy->rules[i]);

		print_field(i ? "" : "Egress:", "%s: %s", peers, ports);
	}
	if (!policy->n_rules)
		print_field("Egress:", "nothing");
}

static void describe_interface(const Hearth__V1__NetworkInterface *interface,
			       const Hearth__V1__Resolved *resolved)
{
	const char *device = resolved ? vm_host_device(resolved, interface->interface_id) : "";
	cleanup_free char *items = NULL;

	add_addresses(&items, interface,
		      resolved ? vm_interface(resolved, interface->interface_id) : NULL);
	if (interface->mtu)
		list_add(&items, ", ", "mtu=%u", interface->mtu);
	add_flag(&items, interface->mmds, "mmds");
	add_limiter(&items, "rx-", interface->rx_rate_limiter);
	add_limiter(&items, "tx-", interface->tx_rate_limiter);
	print_field("Interface:", "%s%s%s%s%s%s", interface->interface_id, *device ? " on " : "",
		    device, items ? " (" : "", items ? items : "", items ? ")" : "");
}

static void describe_balloon(const Hearth__V1__Balloon *balloon)
{
	const Google__Protobuf__Duration *interval = balloon->stats_interval;
	cleanup_free char *items = NULL;
	char text[FORMAT_MAX];

	list_add(&items, ", ", "%s", format_mib(balloon->amount_mib, text));
	add_flag(&items, balloon->deflate_on_oom, "deflated when out of memory");
	if (interval)
		list_add(&items, ", ", "statistics every %s",
			 format_span(interval->seconds * USEC_PER_SEC + interval->nanos / 1000,
				     text));
	add_flag(&items, balloon->free_page_hinting, "free pages hinted");
	add_flag(&items, balloon->free_page_reporting, "free pages reported");
	print_field("Balloon:", "%s", items);
}

static void describe_vsock(const Hearth__V1__Vsock *vsock, const Hearth__V1__Resolved *resolved)
{
	const char *path = resolved ? resolved->vsock_path : "";

	print_field("Vsock:", "CID %u%s%s", vsock->guest_cid ? vsock->guest_cid : default_cid,
		    *path ? " at " : "", path);
}

static void describe_entropy(const Hearth__V1__Entropy *entropy)
{
	cleanup_free char *items = NULL;

	add_limiter(&items, "", entropy->rate_limiter);
	print_field("Entropy:", "%s", items ? items : "");
}

static void describe_mmds(const Hearth__V1__Mmds *mmds)
{
	print_field("MMDS:", "%s, %zu bytes%s",
		    *mmds->ipv4_address ? mmds->ipv4_address : default_address,
		    strlen(mmds->content), mmds->imds_compat ? ", as EC2 answers" : "");
}

static void describe_devices(const Hearth__V1__Devices *devices,
			     const Hearth__V1__Resolved *resolved)
{
	if (devices->vsock)
		describe_vsock(devices->vsock, resolved);
	if (devices->balloon)
		describe_balloon(devices->balloon);
	if (devices->entropy)
		describe_entropy(devices->entropy);
	if (devices->mmds)
		describe_mmds(devices->mmds);
}

static void describe_limits(const char *name, const Hearth__V1__Limits *limits)
{
	cleanup_free char *items = NULL;
	char text[FORMAT_MAX];

	if (limits->cpu_millis)
		list_add(&items, ", ", "cpu=%.7g", limits->cpu_millis / 1000.0);
	if (limits->memory_mib)
		list_add(&items, ", ", "memory=%s", format_mib(limits->memory_mib, text));
	if (limits->pids)
		list_add(&items, ", ", "pids=%u", limits->pids);
	print_field(name, "%s", items ? items : "");
}

static void describe_host(const Hearth__V1__Resolved *resolved)
{
	char text[FORMAT_MAX];
	char name[40];

	print_field("Backend:", "%s%s%s%s%s",
		    enum_text(&hearth__v1__backend__descriptor, (int)resolved->backend, name),
		    *resolved->vmm_version ? " " : "", resolved->vmm_version,
		    *resolved->accelerator ? " with " : "", resolved->accelerator);
	print_field("Boot args:", "%s", resolved->boot_args);
	print_field("Instance:", "%s", resolved->instance_id);
	if (resolved->vmm_pid || resolved->keeper_pid)
		print_field("Processes:", "VMM %u, keeper %u", resolved->vmm_pid,
			    resolved->keeper_pid);
	if (resolved->jail_uid)
		print_field("Jail:", "uid %u%s%s", resolved->jail_uid,
			    *resolved->jail_path ? " in " : "", resolved->jail_path);
	print_field("Cgroup:", "%s", resolved->cgroup);
	if (resolved->limits)
		describe_limits("Limits:", resolved->limits);
	if (resolved->start_time)
		print_field("Started:", "%s", format_time(resolved->start_time, text));
}

void vm_describe_spec(const Hearth__V1__VmSpec *spec, const Hearth__V1__Resolved *resolved)
{
	if (spec)
		describe_policy(spec);
	describe_machine(spec ? spec->machine : NULL, resolved);
	if (spec && spec->boot) {
		print_field("Kernel:", "%s", spec->boot->kernel_path);
		print_field("Initrd:", "%s", spec->boot->initrd_path);
	}
	for (size_t i = 0; spec && i < spec->n_drives; i++)
		describe_drive(spec->drives[i]);
	for (size_t i = 0; spec && i < spec->n_network_interfaces; i++)
		describe_interface(spec->network_interfaces[i], resolved);
	if (spec && spec->egress)
		describe_egress(spec->egress);
	if (spec && spec->devices)
		describe_devices(spec->devices, resolved);
	if (spec && spec->limits)
		describe_limits("Limits asked:", spec->limits);
	if (resolved)
		describe_host(resolved);
}
