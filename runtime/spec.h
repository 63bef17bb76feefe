/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a caller asks a VM to be: VmSpec of the API, as a C structure.
 *
 * A VmSpec is immutable once it has been shared; it is shared by reference
 * between the records of one VM. Enumerators have the proto's numbers.
 */

#include "runtime/fields.h"

#include <stdatomic.h>

typedef enum VmBackend {
	VM_BACKEND_UNSET,
	VM_BACKEND_IN_MEMORY,
	VM_BACKEND_QEMU,
	VM_BACKEND_FIRECRACKER,
	VM_BACKEND_COUNT_,
} VmBackend;

typedef enum VmDesired {
	VM_DESIRED_UNSET,
	VM_DESIRED_STOPPED,
	VM_DESIRED_RUNNING,
	VM_DESIRED_PAUSED,
	VM_DESIRED_COUNT_,
} VmDesired;

typedef enum VmRestartMode {
	VM_RESTART_UNSET,
	VM_RESTART_NEVER,
	VM_RESTART_ON_FAILURE,
	VM_RESTART_ALWAYS,
	VM_RESTART_COUNT_,
} VmRestartMode;

typedef enum VmExpireAction {
	VM_EXPIRE_UNSET,
	VM_EXPIRE_STOP,
	VM_EXPIRE_DESTROY,
	VM_EXPIRE_COUNT_,
} VmExpireAction;

typedef enum VmGuestAgent {
	VM_GUEST_AGENT_UNSET,
	VM_GUEST_AGENT_NONE,
	VM_GUEST_AGENT_OPTIONAL,
	VM_GUEST_AGENT_REQUIRED,
	VM_GUEST_AGENT_COUNT_,
} VmGuestAgent;

typedef enum VmHugePages {
	VM_HUGE_PAGES_UNSET,
	VM_HUGE_PAGES_NONE,
	VM_HUGE_PAGES_2M,
	VM_HUGE_PAGES_TRANSPARENT,
	VM_HUGE_PAGES_COUNT_,
} VmHugePages;

typedef enum VmCpuTemplate {
	VM_CPU_TEMPLATE_UNSET,
	VM_CPU_TEMPLATE_C3,
	VM_CPU_TEMPLATE_T2,
	VM_CPU_TEMPLATE_T2S,
	VM_CPU_TEMPLATE_T2CL,
	VM_CPU_TEMPLATE_T2A,
	VM_CPU_TEMPLATE_V1N1,
	VM_CPU_TEMPLATE_COUNT_,
} VmCpuTemplate;

typedef enum VmCacheType {
	VM_CACHE_UNSET,
	VM_CACHE_UNSAFE,
	VM_CACHE_WRITEBACK,
	VM_CACHE_COUNT_,
} VmCacheType;

typedef enum VmIoEngine {
	VM_IO_UNSET,
	VM_IO_SYNC,
	VM_IO_ASYNC,
	VM_IO_COUNT_,
} VmIoEngine;

typedef enum VmMemoryBackend {
	VM_MEMORY_UNSET,
	VM_MEMORY_FILE,
	VM_MEMORY_USERFAULTFD,
	VM_MEMORY_COUNT_,
} VmMemoryBackend;

typedef enum VmProtocol {
	VM_PROTOCOL_UNSET,
	VM_PROTOCOL_TCP,
	VM_PROTOCOL_UDP,
	VM_PROTOCOL_SCTP,
	VM_PROTOCOL_ICMP,
	VM_PROTOCOL_COUNT_,
} VmProtocol;

typedef struct VmMachine {
	uint32_t vcpus;
	uint64_t memory_mib;
	bool smt;
	VmHugePages huge_pages;
	VmCpuTemplate cpu_template;
	char *cpu_config; /* JSON */
	bool track_dirty_pages;
} VmMachine;

typedef struct VmBoot {
	char *kernel_path;
	char *initrd_path;
	char *boot_args;
} VmBoot;

typedef struct VmTokenBucket {
	uint64_t size;
	uint64_t one_time_burst;
	uint64_t refill_time_ms;
} VmTokenBucket;

typedef struct VmRateLimiter {
	VmTokenBucket *bandwidth;
	VmTokenBucket *ops;
} VmRateLimiter;

typedef struct VmDrive {
	char *drive_id;
	char *path; /* or: */
	char *template_id;
	uint32_t size_mib;
	bool from_snapshot; /* or of restore_from's */
	bool read_only;
	bool is_root;
	VmCacheType cache_type;
	VmIoEngine io_engine;
	VmRateLimiter *rate_limiter;
} VmDrive;

typedef struct VmInterface {
	char *interface_id;
	char *guest_mac;
	uint32_t mtu;
	VmRateLimiter *rx_rate_limiter;
	VmRateLimiter *tx_rate_limiter;
	bool mmds;
	char *ipv4_address;
	char *ipv6_address;
} VmInterface;

typedef struct VmEgressPeer {
	char *cidr;
	FieldTexts except;
} VmEgressPeer;

typedef struct VmEgressPort {
	VmProtocol protocol;
	uint32_t port;
	uint32_t end_port;
} VmEgressPort;

typedef struct VmEgressRule {
	FieldList to;    /* VmEgressPeer */
	FieldList ports; /* VmEgressPort */
	FieldTexts fqdn;
} VmEgressRule;

typedef struct VmEgressPolicy {
	FieldList rules; /* VmEgressRule */
} VmEgressPolicy;

typedef struct VmVsock {
	uint32_t guest_cid;
} VmVsock;

typedef struct VmBalloon {
	uint64_t amount_mib;
	bool deflate_on_oom;
	int64_t stats_interval; /* usec, whole seconds */
	bool free_page_hinting;
	bool free_page_reporting;
} VmBalloon;

typedef struct VmEntropy {
	VmRateLimiter *rate_limiter;
} VmEntropy;

typedef struct VmMmds {
	char *content; /* JSON */
	char *ipv4_address;
	bool imds_compat;
} VmMmds;

typedef struct VmDevices {
	VmVsock *vsock;
	VmBalloon *balloon;
	VmEntropy *entropy;
	VmMmds *mmds;
} VmDevices;

typedef struct VmLimits {
	uint32_t cpu_millis;
	uint64_t memory_mib;
	uint32_t pids;
} VmLimits;

typedef struct VmRestartPolicy {
	VmRestartMode mode;
	uint32_t max_restarts;
	int64_t initial_backoff; /* usec */
	int64_t max_backoff;     /* usec */
} VmRestartPolicy;

typedef struct VmRestoreFrom {
	char *vm_id;
	char *snapshot_id;
	bool allow_shared_identity;
	VmMemoryBackend memory_backend;
	FieldList network_overrides; /* VmNetworkOverride */
} VmRestoreFrom;

typedef struct VmNetworkOverride {
	char *interface_id;
	char *ipv4_address, *ipv6_address;
} VmNetworkOverride;

typedef struct VmSpec {
	atomic_uint refs;
	VmBackend backend;
	VmDesired desired_state;
	FieldMap labels;
	VmMachine *machine;
	VmBoot *boot;
	FieldList drives;             /* VmDrive */
	FieldList network_interfaces; /* VmInterface */
	VmEgressPolicy *egress;
	FieldTexts secrets; /* names */
	VmGuestAgent guest_agent;
	VmRestartPolicy *restart_policy;
	int64_t expires_at;
	VmExpireAction expire_action;
	VmDevices *devices;
	VmLimits *limits;
	VmRestoreFrom *restore_from;
} VmSpec;

extern const FieldTable vm_spec_table, vm_drive_table, vm_interface_table, vm_limits_table,
	vm_balloon_table, vm_mmds_table, vm_rate_limiter_table, vm_egress_policy_table;

VmSpec *spec_new(void); /* one reference, all unset */
VmSpec *spec_ref(VmSpec *spec);
void spec_unref(VmSpec *spec);
DEFINE_CLEANUP(VmSpec *, spec_unref);
VmSpec *spec_copy(const VmSpec *spec); /* deep, one reference */

/**
 * spec_check() - what can be said about @spec without looking at the host
 * @err:	INVALID_REQUEST with every bad field
 *
 * The table's rules, those between fields (root drive first and only one, expire_action only with
 * expires_at, and the like), and those of texts with a form of their own (JSON, addresses).
 */
int spec_check(VmSpec *spec, Error *err) must_check;

/* The SHA-256 of @spec's canonical JSON with @vm_id, @uid and @tenant, in hexadecimal. */
void spec_digest(char ret[static 65], const VmSpec *spec, const char *vm_id, const char *uid,
		 const char *tenant);

/* What unset fields mean. */
enum {
	SPEC_DEFAULT_VCPUS = 1,
	SPEC_DEFAULT_MEMORY_MIB = 128,
	SPEC_CPU_MILLIS = 1000,     /* of a virtual CPU */
	SPEC_OVERHEAD_MIB = 128,    /* of a VMM beside its guest's memory */
	SPEC_OVERHEAD_MIN_MIB = 16, /* and what it cannot do without */
	SPEC_PIDS = 64,             /* beside two a virtual CPU */
	SPEC_DEFAULT_CID = 3,
	SPEC_DRIVES_MAX = 16,
	SPEC_DRIVE_MIB_MAX = 16 << 20,
	SPEC_INTERFACES_MAX = 8,
	SPEC_LABELS_MAX = 64,
	SPEC_SECRETS_MAX = 32,
	SPEC_SECRET_NAME_MAX = 64,
	HUGE_PAGE_MIB = 2,
};
uint32_t spec_vcpus(const VmSpec *spec);
uint64_t spec_memory_mib(const VmSpec *spec);
uint64_t spec_huge_pages(const VmSpec *spec); /* of 2 MiB; 0: its memory is not of such */
VmDesired spec_desired(const VmSpec *spec);   /* never UNSET */
static inline const VmDrive *spec_drive(const VmSpec *spec, size_t i)
{
	return &((const VmDrive *)spec->drives.items)[i];
}

static inline bool drive_has_template(const VmDrive *drive)
{
	return drive->template_id && drive->template_id[0];
}

/* Is it a file of the VM's own, made of a template or a snapshot's disk? */
static inline bool drive_is_own(const VmDrive *drive)
{
	return drive_has_template(drive) || drive->from_snapshot;
}

static inline const VmInterface *spec_interface(const VmSpec *spec, size_t i)
{
	return &((const VmInterface *)spec->network_interfaces.items)[i];
}

/* The devices asked for; NULL: none of that kind. */
const VmVsock *spec_vsock(const VmSpec *spec);
const VmBalloon *spec_balloon(const VmSpec *spec);
const VmMmds *spec_mmds(const VmSpec *spec);
const VmRateLimiter *spec_entropy_limiter(const VmSpec *spec);

/* Is anything expected of a daemon in the guest? */
bool spec_wants_guest(const VmSpec *spec);

/* The limits meant, each unset one at its default. */
VmLimits spec_limits(const VmSpec *spec);

/* Lower-case names, as in the store: "qemu", "in_memory". */
extern const char *const vm_backend_names[VM_BACKEND_COUNT_];
const char *vm_backend_name(VmBackend backend);
VmBackend vm_backend_from_name(const char *name); /* UNSET if unknown */
