/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "netfw/egress_policy.h"
#include "runtime/spec.h"

#include <assert.h>
#include <limits.h>

#define SECONDS(n) ((uint64_t)(n)*USEC_PER_SEC)

static const char mac_bytes[] = "0123456789abcdefABCDEF:";
static const char secret_bytes[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
static const char id_bytes[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
static const char printable_bytes[] =
	" !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`"
	"abcdefghijklmnopqrstuvwxyz{|}~";

const char *const vm_backend_names[] = {
	[VM_BACKEND_IN_MEMORY] = "in_memory",
	[VM_BACKEND_QEMU] = "qemu",
	[VM_BACKEND_FIRECRACKER] = "firecracker",
};
static_assert(array_size(vm_backend_names) == VM_BACKEND_COUNT_, "name every backend");

static const char *const desired_names[] = {
	[VM_DESIRED_STOPPED] = "stopped",
	[VM_DESIRED_RUNNING] = "running",
	[VM_DESIRED_PAUSED] = "paused",
};
static_assert(array_size(desired_names) == VM_DESIRED_COUNT_, "name every state");

static const char *const restart_names[] = {
	[VM_RESTART_NEVER] = "never",
	[VM_RESTART_ON_FAILURE] = "on_failure",
	[VM_RESTART_ALWAYS] = "always",
};
static_assert(array_size(restart_names) == VM_RESTART_COUNT_, "name every mode");

static const char *const expire_names[] = {
	[VM_EXPIRE_STOP] = "stop",
	[VM_EXPIRE_DESTROY] = "destroy",
};
static_assert(array_size(expire_names) == VM_EXPIRE_COUNT_, "name every action");

static const char *const guest_agent_names[] = {
	[VM_GUEST_AGENT_NONE] = "none",
	[VM_GUEST_AGENT_OPTIONAL] = "optional",
	[VM_GUEST_AGENT_REQUIRED] = "required",
};
static_assert(array_size(guest_agent_names) == VM_GUEST_AGENT_COUNT_, "name every expectation");

static const char *const huge_pages_names[] = {
	[VM_HUGE_PAGES_NONE] = "none",
	[VM_HUGE_PAGES_2M] = "2m",
	[VM_HUGE_PAGES_TRANSPARENT] = "transparent",
};
static_assert(array_size(huge_pages_names) == VM_HUGE_PAGES_COUNT_, "name every kind");

static const char *const cpu_template_names[] = {
	[VM_CPU_TEMPLATE_C3] = "c3",   [VM_CPU_TEMPLATE_T2] = "t2",
	[VM_CPU_TEMPLATE_T2S] = "t2s", [VM_CPU_TEMPLATE_T2CL] = "t2cl",
	[VM_CPU_TEMPLATE_T2A] = "t2a", [VM_CPU_TEMPLATE_V1N1] = "v1n1",
};
static_assert(array_size(cpu_template_names) == VM_CPU_TEMPLATE_COUNT_, "name every template");

static const char *const cache_names[] = {
	[VM_CACHE_UNSAFE] = "unsafe",
	[VM_CACHE_WRITEBACK] = "writeback",
};
static_assert(array_size(cache_names) == VM_CACHE_COUNT_, "name every type");

static const char *const memory_names[] = {
	[VM_MEMORY_FILE] = "file",
	[VM_MEMORY_USERFAULTFD] = "userfaultfd",
};

static const char *const io_names[] = {
	[VM_IO_SYNC] = "sync",
	[VM_IO_ASYNC] = "async",
};
static_assert(array_size(io_names) == VM_IO_COUNT_, "name every engine");

static const char *const protocol_names[] = {
	[VM_PROTOCOL_TCP] = "tcp",
	[VM_PROTOCOL_UDP] = "udp",
	[VM_PROTOCOL_SCTP] = "sctp",
	[VM_PROTOCOL_ICMP] = "icmp",
};
static_assert(array_size(protocol_names) == VM_PROTOCOL_COUNT_, "name every protocol");

/* clang-format off */
#define AT(member) .offset = offsetof(VmMachine, member)
static const Field machine_fields[] = {
	{ "vcpus",             FIELD_U32,  AT(vcpus),      .min = 1,  .max = 32 },
	{ "memory_mib",        FIELD_U64,  AT(memory_mib), .min = 16, .max = 1048576 },
	{ "smt",               FIELD_BOOL, AT(smt) },
	{ "huge_pages",        FIELD_ENUM, AT(huge_pages), .names = huge_pages_names, .name_count = VM_HUGE_PAGES_COUNT_ },
	{ "cpu_template",      FIELD_ENUM, AT(cpu_template), .names = cpu_template_names, .name_count = VM_CPU_TEMPLATE_COUNT_ },
	{ "cpu_config",        FIELD_TEXT, AT(cpu_config), .max = 32768 },
	{ "track_dirty_pages", FIELD_BOOL, AT(track_dirty_pages) },
};
#undef AT
static const FieldTable machine_table = {
	"Machine", sizeof(VmMachine), machine_fields, array_size(machine_fields),
};

#define AT(member) .offset = offsetof(VmBoot, member)
static const Field boot_fields[] = {
	{ "kernel_path", FIELD_TEXT, AT(kernel_path), .max = PATH_MAX - 1, .flags = FIELD_PATH },
	{ "initrd_path", FIELD_TEXT, AT(initrd_path), .max = PATH_MAX - 1, .flags = FIELD_PATH },
	{ "boot_args",   FIELD_TEXT, AT(boot_args),   .max = 2047, .accept = printable_bytes },
};
#undef AT
static const FieldTable boot_table = {
	"Boot", sizeof(VmBoot), boot_fields, array_size(boot_fields),
};

#define AT(member) .offset = offsetof(VmTokenBucket, member)
static const Field bucket_fields[] = {
	{ "size",           FIELD_U64, AT(size), .min = 1, .max = INT64_MAX, .flags = FIELD_REQUIRED },
	{ "one_time_burst", FIELD_U64, AT(one_time_burst), .max = INT64_MAX },
	{ "refill_time_ms", FIELD_U64, AT(refill_time_ms), .min = 1, .max = 86400000, .flags = FIELD_REQUIRED },
};
#undef AT
static const FieldTable bucket_table = {
	"TokenBucket", sizeof(VmTokenBucket), bucket_fields, array_size(bucket_fields),
};

#define AT(member) .offset = offsetof(VmRateLimiter, member)
static const Field limiter_fields[] = {
	{ "bandwidth", FIELD_OBJECT, AT(bandwidth), .table = &bucket_table },
	{ "ops",       FIELD_OBJECT, AT(ops),       .table = &bucket_table },
};
#undef AT
const FieldTable vm_rate_limiter_table = {
	"RateLimiter", sizeof(VmRateLimiter), limiter_fields, array_size(limiter_fields),
};

#define AT(member) .offset = offsetof(VmDrive, member)
static const Field drive_fields[] = {
	{ "drive_id",  FIELD_TEXT, AT(drive_id), .min = 1, .max = 32, .accept = id_bytes,
	  .flags = FIELD_REQUIRED | FIELD_UNIQUE },
	{ "path",      FIELD_TEXT, AT(path), .max = PATH_MAX - 1, .flags = FIELD_PATH },
	{ "template_id", FIELD_TEXT, AT(template_id), .max = 63, .accept = id_bytes },
	{ "from_snapshot", FIELD_BOOL, AT(from_snapshot) },
	{ "size_mib",  FIELD_U32,  AT(size_mib), .max = SPEC_DRIVE_MIB_MAX },
	{ "read_only", FIELD_BOOL, AT(read_only) },
	{ "is_root",   FIELD_BOOL, AT(is_root) },
	{ "cache_type",   FIELD_ENUM,   AT(cache_type), .names = cache_names, .name_count = VM_CACHE_COUNT_ },
	{ "io_engine",    FIELD_ENUM,   AT(io_engine), .names = io_names, .name_count = VM_IO_COUNT_ },
	{ "rate_limiter", FIELD_OBJECT, AT(rate_limiter), .table = &vm_rate_limiter_table },
};
#undef AT
const FieldTable vm_drive_table = {
	"Drive", sizeof(VmDrive), drive_fields, array_size(drive_fields),
};

#define AT(member) .offset = offsetof(VmInterface, member)
static const Field interface_fields[] = {
	{ "interface_id",    FIELD_TEXT,   AT(interface_id), .min = 1, .max = 32, .accept = id_bytes,
	  .flags = FIELD_REQUIRED | FIELD_UNIQUE },
	{ "guest_mac",       FIELD_TEXT,   AT(guest_mac), .min = 17, .max = 17, .accept = mac_bytes },
	{ "mtu",             FIELD_U32,    AT(mtu), .min = 68, .max = 65535 },
	{ "rx_rate_limiter", FIELD_OBJECT, AT(rx_rate_limiter), .table = &vm_rate_limiter_table },
	{ "tx_rate_limiter", FIELD_OBJECT, AT(tx_rate_limiter), .table = &vm_rate_limiter_table },
	{ "mmds",            FIELD_BOOL,   AT(mmds) },
	{ "ipv4_address",    FIELD_TEXT,   AT(ipv4_address), .max = 15 },
	{ "ipv6_address",    FIELD_TEXT,   AT(ipv6_address), .max = 45 },
};
#undef AT
const FieldTable vm_interface_table = {
	"NetworkInterface", sizeof(VmInterface), interface_fields, array_size(interface_fields),
};

#define AT(member) .offset = offsetof(VmEgressPeer, member)
static const Field egress_peer_fields[] = {
	{ "cidr",   FIELD_TEXT,  AT(cidr), .max = 49, .flags = FIELD_REQUIRED },
	{ "except", FIELD_TEXTS, AT(except), .max = EGRESS_PREFIXES_MAX },
};
#undef AT
static const FieldTable egress_peer_table = {
	"EgressPeer", sizeof(VmEgressPeer), egress_peer_fields, array_size(egress_peer_fields),
};

#define AT(member) .offset = offsetof(VmEgressPort, member)
static const Field egress_port_fields[] = {
	{ "protocol", FIELD_ENUM, AT(protocol), .names = protocol_names, .name_count = VM_PROTOCOL_COUNT_ },
	{ "port",     FIELD_U32,  AT(port), .min = 1, .max = 65535 },
	{ "end_port", FIELD_U32,  AT(end_port), .min = 1, .max = 65535 },
};
#undef AT
static const FieldTable egress_port_table = {
	"EgressPort", sizeof(VmEgressPort), egress_port_fields, array_size(egress_port_fields),
};

#define AT(member) .offset = offsetof(VmEgressRule, member)
static const Field egress_rule_fields[] = {
	{ "to",    FIELD_LIST,  AT(to), .table = &egress_peer_table, .max = EGRESS_PREFIXES_MAX },
	{ "ports", FIELD_LIST,  AT(ports), .table = &egress_port_table, .max = EGRESS_PORTS_MAX },
	{ "fqdn",  FIELD_TEXTS, AT(fqdn), .max = EGRESS_PREFIXES_MAX },
};
#undef AT
static const FieldTable egress_rule_table = {
	"EgressRule", sizeof(VmEgressRule), egress_rule_fields, array_size(egress_rule_fields),
};

#define AT(member) .offset = offsetof(VmEgressPolicy, member)
static const Field egress_policy_fields[] = {
	{ "rules", FIELD_LIST, AT(rules), .table = &egress_rule_table, .max = EGRESS_RULES_MAX },
};
#undef AT
const FieldTable vm_egress_policy_table = {
	"EgressPolicy", sizeof(VmEgressPolicy), egress_policy_fields, array_size(egress_policy_fields),
};

#define AT(member) .offset = offsetof(VmVsock, member)
static const Field vsock_fields[] = {
	{ "guest_cid", FIELD_U32, AT(guest_cid), .min = 3, .max = UINT32_MAX - 1 },
};
#undef AT
static const FieldTable vsock_table = {
	"Vsock", sizeof(VmVsock), vsock_fields, array_size(vsock_fields),
};

#define AT(member) .offset = offsetof(VmBalloon, member)
static const Field balloon_fields[] = {
	{ "amount_mib",          FIELD_U64,      AT(amount_mib), .max = 1048576 },
	{ "deflate_on_oom",      FIELD_BOOL,     AT(deflate_on_oom) },
	{ "stats_interval",      FIELD_DURATION, AT(stats_interval), .min = SECONDS(1), .max = SECONDS(3600) },
	{ "free_page_hinting",   FIELD_BOOL,     AT(free_page_hinting) },
	{ "free_page_reporting", FIELD_BOOL,     AT(free_page_reporting) },
};
#undef AT
const FieldTable vm_balloon_table = {
	"Balloon", sizeof(VmBalloon), balloon_fields, array_size(balloon_fields),
};

#define AT(member) .offset = offsetof(VmEntropy, member)
static const Field entropy_fields[] = {
	{ "rate_limiter", FIELD_OBJECT, AT(rate_limiter), .table = &vm_rate_limiter_table },
};
#undef AT
static const FieldTable entropy_table = {
	"Entropy", sizeof(VmEntropy), entropy_fields, array_size(entropy_fields),
};

#define AT(member) .offset = offsetof(VmMmds, member)
static const Field mmds_fields[] = {
	{ "content",      FIELD_TEXT, AT(content), .max = 51200 },
	{ "ipv4_address", FIELD_TEXT, AT(ipv4_address), .max = 15 },
	{ "imds_compat",  FIELD_BOOL, AT(imds_compat) },
};
#undef AT
const FieldTable vm_mmds_table = {
	"Mmds", sizeof(VmMmds), mmds_fields, array_size(mmds_fields),
};

#define AT(member) .offset = offsetof(VmDevices, member)
static const Field devices_fields[] = {
	{ "vsock",   FIELD_OBJECT, AT(vsock),   .table = &vsock_table },
	{ "balloon", FIELD_OBJECT, AT(balloon), .table = &vm_balloon_table },
	{ "entropy", FIELD_OBJECT, AT(entropy), .table = &entropy_table },
	{ "mmds",    FIELD_OBJECT, AT(mmds),    .table = &vm_mmds_table },
};
#undef AT
static const FieldTable devices_table = {
	"Devices", sizeof(VmDevices), devices_fields, array_size(devices_fields),
};

#define AT(member) .offset = offsetof(VmLimits, member)
static const Field limits_fields[] = {
	{ "cpu_millis", FIELD_U32, AT(cpu_millis), .min = 10, .max = 1024000 },
	{ "memory_mib", FIELD_U64, AT(memory_mib), .max = 2097152 },
	{ "pids",       FIELD_U32, AT(pids), .min = 16, .max = 65536 },
};
#undef AT
const FieldTable vm_limits_table = {
	"Limits", sizeof(VmLimits), limits_fields, array_size(limits_fields),
};

#define AT(member) .offset = offsetof(VmRestartPolicy, member)
static const Field restart_fields[] = {
	{ "mode",            FIELD_ENUM,     AT(mode), .names = restart_names, .name_count = VM_RESTART_COUNT_ },
	{ "max_restarts",    FIELD_U32,      AT(max_restarts), .max = 1000000 },
	{ "initial_backoff", FIELD_DURATION, AT(initial_backoff), .min = SECONDS(1) / 100, .max = SECONDS(3600) },
	{ "max_backoff",     FIELD_DURATION, AT(max_backoff),     .min = SECONDS(1) / 100, .max = SECONDS(86400) },
};
#undef AT
static const FieldTable restart_table = {
	"RestartPolicy", sizeof(VmRestartPolicy), restart_fields, array_size(restart_fields),
};

#define AT(member) .offset = offsetof(VmNetworkOverride, member)
static const Field network_override_fields[] = {
	{ "interface_id", FIELD_TEXT, AT(interface_id), .min = 1, .max = 32, .accept = id_bytes,
	  .flags = FIELD_REQUIRED | FIELD_UNIQUE },
	{ "ipv4_address", FIELD_TEXT, AT(ipv4_address), .max = 15 },
	{ "ipv6_address", FIELD_TEXT, AT(ipv6_address), .max = 45 },
};
#undef AT
static const FieldTable network_override_table = {
	"NetworkOverride", sizeof(VmNetworkOverride), network_override_fields, array_size(network_override_fields),
};

#define AT(member) .offset = offsetof(VmRestoreFrom, member)
static const Field restore_from_fields[] = {
	{ "vm_id",       FIELD_TEXT, AT(vm_id), .min = 1, .max = 63, .accept = id_bytes, .flags = FIELD_REQUIRED },
	{ "snapshot_id", FIELD_TEXT, AT(snapshot_id), .min = 1, .max = 63, .accept = id_bytes,
	  .flags = FIELD_REQUIRED },
	{ "allow_shared_identity", FIELD_BOOL, AT(allow_shared_identity) },
	{ "memory_backend", FIELD_ENUM, AT(memory_backend), .names = memory_names, .name_count = VM_MEMORY_COUNT_ },
	{ "network_overrides", FIELD_LIST, AT(network_overrides), .table = &network_override_table,
	  .max = SPEC_INTERFACES_MAX },
};
#undef AT
static const FieldTable restore_from_table = {
	"RestoreFrom", sizeof(VmRestoreFrom), restore_from_fields, array_size(restore_from_fields),
};

#define AT(member) .offset = offsetof(VmSpec, member)
static const Field spec_fields[] = {
	{ "backend",        FIELD_ENUM,   AT(backend), .names = vm_backend_names, .name_count = VM_BACKEND_COUNT_ },
	{ "desired_state",  FIELD_ENUM,   AT(desired_state), .names = desired_names, .name_count = VM_DESIRED_COUNT_ },
	{ "labels",         FIELD_MAP,    AT(labels), .max = SPEC_LABELS_MAX },
	{ "machine",        FIELD_OBJECT, AT(machine), .table = &machine_table },
	{ "boot",           FIELD_OBJECT, AT(boot), .table = &boot_table },
	{ "drives",         FIELD_LIST,   AT(drives), .table = &vm_drive_table, .max = SPEC_DRIVES_MAX },
	{ "network_interfaces", FIELD_LIST, AT(network_interfaces), .table = &vm_interface_table, .max = SPEC_INTERFACES_MAX },
	{ "egress",         FIELD_OBJECT, AT(egress), .table = &vm_egress_policy_table },
	{ "secrets",        FIELD_TEXTS,  AT(secrets), .max = SPEC_SECRETS_MAX, .accept = secret_bytes },
	{ "guest_agent",    FIELD_ENUM,   AT(guest_agent), .names = guest_agent_names, .name_count = VM_GUEST_AGENT_COUNT_ },
	{ "restart_policy", FIELD_OBJECT, AT(restart_policy), .table = &restart_table },
	{ "expires_at",     FIELD_TIME,   AT(expires_at) },
	{ "expire_action",  FIELD_ENUM,   AT(expire_action), .names = expire_names, .name_count = VM_EXPIRE_COUNT_ },
	{ "devices",        FIELD_OBJECT, AT(devices), .table = &devices_table },
	{ "limits",         FIELD_OBJECT, AT(limits), .table = &vm_limits_table },
	{ "restore_from",   FIELD_OBJECT, AT(restore_from), .table = &restore_from_table },
};
#undef AT
const FieldTable vm_spec_table = {
	"VmSpec", sizeof(VmSpec), spec_fields, array_size(spec_fields),
};
/* clang-format on */
