/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/spec.h"

#include "base/clock.h"
#include "base/text.h"

#include <assert.h>
#include <limits.h>
#include <openssl/sha.h>
#include <string.h>

#define SECONDS(n) ((uint64_t)(n)*USEC_PER_SEC)

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

/* clang-format off */
#define AT(member) .offset = offsetof(VmMachine, member)
static const Field machine_fields[] = {
	{ "vcpus",      FIELD_U32, AT(vcpus),      .min = 1,  .max = 32 },
	{ "memory_mib", FIELD_U64, AT(memory_mib), .min = 16, .max = 1048576 },
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

#define AT(member) .offset = offsetof(VmDrive, member)
static const Field drive_fields[] = {
	{ "drive_id",  FIELD_TEXT, AT(drive_id), .min = 1, .max = 32, .accept = id_bytes,
	  .flags = FIELD_REQUIRED | FIELD_UNIQUE },
	{ "path",      FIELD_TEXT, AT(path), .max = PATH_MAX - 1, .flags = FIELD_REQUIRED | FIELD_PATH },
	{ "read_only", FIELD_BOOL, AT(read_only) },
	{ "is_root",   FIELD_BOOL, AT(is_root) },
};
#undef AT
const FieldTable vm_drive_table = {
	"Drive", sizeof(VmDrive), drive_fields, array_size(drive_fields),
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

#define AT(member) .offset = offsetof(VmSpec, member)
static const Field spec_fields[] = {
	{ "backend",        FIELD_ENUM,   AT(backend), .names = vm_backend_names, .name_count = VM_BACKEND_COUNT_ },
	{ "desired_state",  FIELD_ENUM,   AT(desired_state), .names = desired_names, .name_count = VM_DESIRED_COUNT_ },
	{ "labels",         FIELD_MAP,    AT(labels), .max = SPEC_LABELS_MAX },
	{ "machine",        FIELD_OBJECT, AT(machine), .table = &machine_table },
	{ "boot",           FIELD_OBJECT, AT(boot), .table = &boot_table },
	{ "drives",         FIELD_LIST,   AT(drives), .table = &vm_drive_table, .max = SPEC_DRIVES_MAX },
	{ "restart_policy", FIELD_OBJECT, AT(restart_policy), .table = &restart_table },
	{ "expires_at",     FIELD_TIME,   AT(expires_at) },
	{ "expire_action",  FIELD_ENUM,   AT(expire_action), .names = expire_names, .name_count = VM_EXPIRE_COUNT_ },
};
#undef AT
const FieldTable vm_spec_table = {
	"VmSpec", sizeof(VmSpec), spec_fields, array_size(spec_fields),
};
/* clang-format on */

VmSpec *spec_new(void)
{
	VmSpec *spec = new0(VmSpec);

	atomic_init(&spec->refs, 1);
	return spec;
}

VmSpec *spec_ref(VmSpec *spec)
{
	atomic_fetch_add_explicit(&spec->refs, 1, memory_order_relaxed);
	return spec;
}

void spec_unref(VmSpec *spec)
{
	if (!spec || atomic_fetch_sub_explicit(&spec->refs, 1, memory_order_acq_rel) > 1)
		return;
	fields_clear(&vm_spec_table, spec);
	free(spec);
}

VmSpec *spec_copy(const VmSpec *spec)
{
	VmSpec *copy = spec_new();

	fields_copy(&vm_spec_table, copy, spec);
	return copy;
}

static void check_root(const VmSpec *spec, Error *err)
{
	for (size_t i = 1; i < spec->drives.count && i < SPEC_DRIVES_MAX; i++) {
		char field[40];

		if (!spec_drive(spec, i)->is_root)
			continue;
		(void)snprintf(field, sizeof field, "spec.drives[%zu].is_root", i);
		(void)error_add_violation(err, field, "only the first drive can be the root");
	}
}

static void check_together(const VmSpec *spec, Error *err)
{
	const VmRestartPolicy *restart = spec->restart_policy;

	check_root(spec, err);
	if (spec->expire_action && !spec->expires_at)
		(void)error_add_violation(err, "spec.expire_action", "needs spec.expires_at");
	if (restart && restart->max_backoff && restart->max_backoff < restart->initial_backoff)
		(void)error_add_violation(err, "spec.restart_policy.max_backoff",
					  "must be at least initial_backoff");
}

int spec_check(VmSpec *spec, Error *err)
{
	fields_check(&vm_spec_table, spec, "spec", err);
	check_together(spec, err);
	return error_is_set(err) ? -1 : 0;
}

static void to_hex(char *ret, const unsigned char *bytes, size_t count)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < count; i++) {
		*ret++ = digits[bytes[i] >> 4];
		*ret++ = digits[bytes[i] & 15];
	}
	*ret = '\0';
}

void spec_digest(char ret[static 65], const VmSpec *spec, const char *vm_id, const char *uid,
		 const char *tenant)
{
	unsigned char sum[SHA256_DIGEST_LENGTH];
	cleanup_free char *text = NULL;
	json_t *json =
		json_pack("{s:s, s:s, s:s, s:o}", "vm_id", vm_id, "uid", uid ? uid : "", "tenant",
			  tenant ? tenant : "", "spec", fields_to_json(&vm_spec_table, spec));

	text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(json);
	assert(text); /* ids are checked before anything is made of them */
	SHA256((const unsigned char *)text, strlen(text), sum);
	to_hex(ret, sum, sizeof sum);
}

uint32_t spec_vcpus(const VmSpec *spec)
{
	return spec->machine && spec->machine->vcpus ? spec->machine->vcpus : SPEC_DEFAULT_VCPUS;
}

uint64_t spec_memory_mib(const VmSpec *spec)
{
	return spec->machine && spec->machine->memory_mib ? spec->machine->memory_mib
							  : SPEC_DEFAULT_MEMORY_MIB;
}

VmDesired spec_desired(const VmSpec *spec)
{
	return spec->desired_state ? spec->desired_state : VM_DESIRED_STOPPED;
}

const char *vm_backend_name(VmBackend backend)
{
	assert(backend > VM_BACKEND_UNSET && backend < VM_BACKEND_COUNT_);
	return vm_backend_names[backend];
}

VmBackend vm_backend_from_name(const char *name)
{
	for (VmBackend backend = VM_BACKEND_UNSET + 1; backend < VM_BACKEND_COUNT_; backend++)
		if (strcmp(vm_backend_names[backend], name) == 0)
			return backend;
	return VM_BACKEND_UNSET;
}
