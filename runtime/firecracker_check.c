/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/boot_args.h"
#include "runtime/firecracker_boot.h"
#include "runtime/firecracker_internal.h"
#include "runtime/launcher.h"
#include "runtime/spec_files.h"
#include "runtime/spec_lacks.h"

#include <string.h>

int firecracker_can(const BackendInfo *info, const VmSpec *spec, Error *err)
{
	FirecrackerVersion version;

	if (!info->available)
		return error_set(err, ERROR_UNSUPPORTED, "firecracker: %s", info->message);
	if (!firecracker_version_parse(&version, info->version))
		return error_set(err, ERROR_UNSUPPORTED, "firecracker: '%s' is no version",
				 info->version);
	return firecracker_features_check(&version, spec, err);
}

/* Firecracker knows not even the name of a template for another architecture. */
static int check_template(const VmSpec *spec, Error *err)
{
#if defined(__x86_64__)
	if (spec->machine && spec->machine->cpu_template == VM_CPU_TEMPLATE_V1N1)
		return error_set(err, ERROR_UNSUPPORTED,
				 "firecracker on x86_64: spec.machine.cpu_template V1N1");
#else
	(void)spec;
	(void)err;
#endif
	return 0;
}

int firecracker_check(Backend *backend, const VmSpec *spec, Error *err)
{
	Firecracker *firecracker = container_of(backend, Firecracker, backend);
	cleanup_free char *args = firecracker_boot_args(spec);
	BackendInfo info = probe_cache_get(&firecracker->probes);
	const BackendConfig *config = &firecracker->config;
	unsigned has = SPEC_HAS_DEVICES;

	if (config->jail.jailer_path || launcher_has_limits(config->launcher))
		has |= SPEC_HAS_LIMITS;
	if (firecracker_can(&info, spec, err) < 0 || check_template(spec, err) < 0 ||
	    spec_lacks_check(spec, has, "firecracker without a jail", err) < 0)
		return -1;
	spec_files_check(spec, "firecracker", firecracker->config.image_dirs, err);
	if (strlen(args) + boot_args_network_max(spec, backend->network) > BOOT_ARGS_MAX)
		(void)error_add_violation(err, "spec.boot.boot_args",
					  "%zu bytes with what the agent adds, at most %d",
					  strlen(args), BOOT_ARGS_MAX);
	return error_is_set(err) ? -1 : 0;
}
