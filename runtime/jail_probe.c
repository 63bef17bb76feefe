/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/process.h"
#include "base/text.h"
#include "base/words.h"
#include "runtime/jail.h"

#include <string.h>

static const char prefix[] = "probe-";

enum {
	PROBE_TIMEOUT = 10 * USEC_PER_SEC,
	PROBE_MEMORY_MIB = 64,
	PROBE_PIDS = 16,
	STALE_AFTER = 60 * USEC_PER_SEC,
};

/* Did the VMM say its version from within? */
static bool ran(const char *output, char *why, size_t size)
{
	if (strstr(output, "Firecracker v"))
		return true;
	(void)snprintf(why, size, "jailer: %.200s", output);
	for (char *at = why; *at; at++)
		if ((unsigned char)*at < ' ' || (unsigned char)*at > '~')
			*at = ' ';
	return false;
}

/* One of an agent that died while it probed. */
static void remove_stale(void *user, const char *instance)
{
	const BackendConfig *config = user;
	Error ignored = { 0 };

	if (strncmp(instance, prefix, sizeof prefix - 1) == 0)
		(void)!jail_remove(config, instance, &ignored);
}

bool jail_probe(const BackendConfig *config, const char *program, char *why, size_t size)
{
	static const char *const version[] = { "--version" };
	cleanup_(words_freep) char **argv = NULL;
	cleanup_(jail_freep) Jail *jail = NULL;
	ProcessResult result = { 0 };
	char instance[17];
	Error err = { 0 };
	BackendConfig copy = *config;
	bool works;
	int r;

	jail_list(config, STALE_AFTER, remove_stale, &copy);
	text_copy(instance, sizeof instance, prefix);
	text_random_hex(instance + sizeof prefix - 1, 4);
	if (jail_begin(&jail, &config->jail, program, instance, &err) < 0) {
		(void)snprintf(why, size, "jailer: %s", err.what);
		return false;
	}
	jail->uid = config->jail.probe_uid;
	jail->limits = (VmLimits){ SPEC_CPU_MILLIS, PROBE_MEMORY_MIB, PROBE_PIDS };
	argv = jail_argv(jail, version, array_size(version));
	r = process_run(&result, argv, PROBE_TIMEOUT);
	works = r == 0 && ran(result.output, why, size);
	if (r < 0)
		(void)snprintf(why, size, "jailer: %s: %s", config->jail.jailer_path,
			       r == -ENOENT ? "not installed" : strerrordesc_np(-r));
	free(result.output);
	/* What cannot be removed the sweep finds. */
	(void)!jail_remove(config, instance, &err);
	return works;
}
