/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/boot_args.h"
#include "runtime/qemu_args.h"
#include "runtime/qemu_internal.h"
#include "runtime/qemu_probe.h"
#include "runtime/spec_files.h"
#include "runtime/spec_lacks.h"

#include <string.h>

static void check_args(const Network *network, const VmSpec *spec, const char *accelerator,
		       Error *err)
{
	uint64_t tsc_khz = text_equal(accelerator, "tcg") ? qemu_tsc_khz() : 0;
	cleanup_free char *args = qemu_boot_args(spec, tsc_khz);

	if (strlen(args) + boot_args_network_max(spec, network) > BOOT_ARGS_MAX)
		(void)error_add_violation(err, "spec.boot.boot_args",
					  "%zu bytes with what the agent adds, at most %d",
					  strlen(args), BOOT_ARGS_MAX);
}

int qemu_check(Backend *backend, const VmSpec *spec, Error *err)
{
	Qemu *qemu = container_of(backend, Qemu, backend);
	BackendInfo info = probe_cache_get(&qemu->probes);
	unsigned has = SPEC_HAS_INTERFACES;

	if (launcher_has_limits(qemu->config.launcher))
		has |= SPEC_HAS_LIMITS;
	if (!info.available)
		return error_set(err, ERROR_UNSUPPORTED, "qemu: %s", info.message);
	if (spec_lacks_check(spec, has, "qemu", err) < 0)
		return -1;
	spec_files_check(spec, "qemu", qemu->config.image_dirs, err);
	check_args(backend->network, spec, info.accelerator, err);
	if (spec_vcpus(spec) > QEMU_VCPUS_MAX)
		(void)error_add_violation(err, "spec.machine.vcpus", "at most %d on qemu's microvm",
					  QEMU_VCPUS_MAX);
	if (spec_memory_mib(spec) > QEMU_MEMORY_MIB_MAX)
		(void)error_add_violation(err, "spec.machine.memory_mib",
					  "at most %d on qemu's microvm", QEMU_MEMORY_MIB_MAX);
	return error_is_set(err) ? -1 : 0;
}
