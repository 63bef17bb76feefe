/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/process.h"
#include "base/text.h"
#include "base/words.h"
#include "runtime/jail.h"
#include "runtime/probe_cache.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

static const char prefix[] = "probe-";

enum {
	PROBE_TIMEOUT = 10 * USEC_PER_SEC,
	PROBE_MEMORY_MIB = 64,
	PROBE_PIDS = 16,
	STALE_AFTER = 60 * USEC_PER_SEC,
	OWN_BYTES = 3, /* of randomness, which tell this agent's probes from another's */
	PROBE_BYTES = 2,
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

static char own_prefix[sizeof prefix + 2UL * OWN_BYTES];

static void name_own(void)
{
	text_copy(own_prefix, sizeof own_prefix, prefix);
	text_random_hex(own_prefix + sizeof prefix - 1, OWN_BYTES);
}

/* One that could not be removed when it had ended. */
static void remove_stale(void *user, const char *instance)
{
	const BackendConfig *config = user;
	Error ignored = { 0 };

	if (strncmp(instance, prefix, sizeof prefix - 1) == 0)
		(void)!jail_remove(config, instance, &ignored);
}

/* One of an agent that died while it probed: there are never two with one directory. */
static void remove_foreign(void *user, const char *instance)
{
	if (strncmp(instance, own_prefix, sizeof own_prefix - 1) != 0)
		remove_stale(user, instance);
}

/* What @err tells of, as far as a probe cares: is it a shortage? */
static int shortage_of(const Error *err)
{
	return err->cause == CAUSE_EXHAUSTED ? -ENOSPC : 0;
}

/* 0, with the words in @why unless it @works; -errno of a shortage. */
static int run_inside(bool *works, const Jail *jail, char *why, size_t size)
{
	static const char *const version[] = { "--version" };
	cleanup_(words_freep) char **argv = jail_argv(jail, version, array_size(version));
	ProcessResult result = { 0 };
	int r = process_run(&result, argv, PROBE_TIMEOUT);

	*works = r == 0 && ran(result.output, why, size);
	if (r < 0)
		(void)snprintf(why, size, "jailer: %s: %s", jail->config->jailer_path,
			       r == -ENOENT ? "not installed" : strerrordesc_np(-r));
	free(result.output);
	return probe_is_shortage(-r) ? r : 0;
}

int jail_probe(BackendInfo *ret, const BackendConfig *config)
{
	cleanup_(jail_freep) Jail *jail = NULL;
	static pthread_once_t named = PTHREAD_ONCE_INIT;
	char instance[sizeof own_prefix + 2UL * PROBE_BYTES]; /* no longer than an instance id */
	Error err = { 0 };
	BackendConfig copy = *config;
	int r;

	(void)pthread_once(&named, name_own);
	jail_list(config, 0, remove_foreign, &copy);
	jail_list(config, STALE_AFTER, remove_stale, &copy);
	text_copy(instance, sizeof instance, own_prefix);
	text_random_hex(instance + sizeof own_prefix - 1, PROBE_BYTES);
	if (jail_begin(&jail, &config->jail, config->firecracker_path, instance, &err) < 0) {
		ret->available = false;
		(void)snprintf(ret->message, sizeof ret->message, "jailer: %.200s", err.what);
		return shortage_of(&err);
	}
	jail->uid = config->jail.probe_uid;
	jail->limits = (VmLimits){ SPEC_CPU_MILLIS, PROBE_MEMORY_MIB, PROBE_PIDS };
	r = run_inside(&ret->available, jail, ret->message, sizeof ret->message);
	/* What cannot be removed the sweep finds. */
	(void)!jail_remove(config, instance, &err);
	return r;
}
