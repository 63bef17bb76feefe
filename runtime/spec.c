/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/spec.h"

#include "base/text.h"

#include <assert.h>
#include <openssl/sha.h>
#include <string.h>

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

uint64_t spec_huge_pages(const VmSpec *spec)
{
	bool huge = spec->machine && spec->machine->huge_pages == VM_HUGE_PAGES_2M;

	return huge ? spec_memory_mib(spec) / HUGE_PAGE_MIB : 0;
}

const VmVsock *spec_vsock(const VmSpec *spec)
{
	return spec->devices ? spec->devices->vsock : NULL;
}

const VmBalloon *spec_balloon(const VmSpec *spec)
{
	return spec->devices ? spec->devices->balloon : NULL;
}

const VmMmds *spec_mmds(const VmSpec *spec)
{
	return spec->devices ? spec->devices->mmds : NULL;
}

const VmRateLimiter *spec_entropy_limiter(const VmSpec *spec)
{
	const VmEntropy *entropy = spec->devices ? spec->devices->entropy : NULL;

	return entropy ? entropy->rate_limiter : NULL;
}

VmLimits spec_limits(const VmSpec *spec)
{
	VmLimits limits = spec->limits ? *spec->limits : (VmLimits){ 0 };

	if (!limits.cpu_millis)
		limits.cpu_millis = SPEC_CPU_MILLIS * spec_vcpus(spec);
	if (!limits.memory_mib)
		limits.memory_mib = spec_memory_mib(spec) + SPEC_OVERHEAD_MIB;
	if (!limits.pids)
		limits.pids = SPEC_PIDS + 2 * spec_vcpus(spec);
	return limits;
}

VmDesired spec_desired(const VmSpec *spec)
{
	return spec->desired_state ? spec->desired_state : VM_DESIRED_STOPPED;
}

bool spec_wants_guest(const VmSpec *spec)
{
	return spec->guest_agent > VM_GUEST_AGENT_NONE ||
	       (!spec->guest_agent && spec->secrets.count);
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
