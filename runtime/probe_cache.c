/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/probe_cache.h"

#include "base/clock.h"
#include "base/text.h"
#include "base/words.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
	PROBE_AGAIN = 5 * USEC_PER_SEC,
};

void probe_cache_init(ProbeCache *cache, ProbeFn *probe, const BackendConfig *config)
{
	*cache = (ProbeCache){ .probe = probe,
			       .config = config,
			       .again = PROBE_AGAIN,
			       .ending = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	lock_init(&cache->lock);
	cond_init(&cache->ended);
}

void probe_cache_destroy(ProbeCache *cache)
{
	cond_destroy(&cache->ended);
	if (cache->ending >= 0)
		(void)close(cache->ending);
}

void probe_cache_give_up(ProbeCache *cache)
{
	if (cache->ending >= 0)
		(void)eventfd_write(cache->ending, 1);
}

void probe_cache_look(ProbeCache *cache, BackendInfo *ret)
{
	int r = cache->probe(ret, cache->config, cache->ending);
	int64_t now = clock_mono_us();
	BackendInfo before;

	lock_take(&cache->lock);
	before = cache->info;
	if (r == 0 || !before.available)
		cache->info = *ret;
	cache->probed = now;
	lock_drop(&cache->lock);

	if (r == 0 || !before.available)
		return;
	ret->available = true;
	text_copy(ret->version, sizeof ret->version, before.version);
	text_copy(ret->accelerator, sizeof ret->accelerator, before.accelerator);
	(void)text_append(before.message, before.message + sizeof before.message,
			  "not looked at again, as found before: %s", ret->message);
	text_copy(ret->message, sizeof ret->message, before.message);
}

static bool is_due(const ProbeCache *cache, int64_t now) lock_requires(cache->lock)
{
	return !cache->probed || (!cache->info.available && now - cache->probed > cache->again);
}

BackendInfo probe_cache_get(ProbeCache *cache)
{
	int64_t now = clock_mono_us();
	BackendInfo info;
	bool mine;

	lock_take(&cache->lock);
	while (cache->probing && is_due(cache, now))
		cond_wait(&cache->ended, &cache->lock);
	mine = is_due(cache, now);
	if (mine)
		cache->probing = true;
	info = cache->info;
	lock_drop(&cache->lock);
	if (!mine)
		return info;

	probe_cache_look(cache, &info);

	lock_take(&cache->lock);
	cache->probing = false;
	cond_broadcast(&cache->ended);
	lock_drop(&cache->lock);
	return info;
}

int probe_run(ProcessResult *ret, const BackendConfig *config, char *const argv[], int cancel_fd,
	      int64_t timeout)
{
	cleanup_(words_clear) Words words = { 0 };

	if (config->keeper_path) {
		words_add(&words, config->keeper_path);
		words_printf(&words, "--tied", "%d", (int)getpid());
		words_add(&words, "--");
	}
	for (size_t i = 0; argv[i]; i++)
		words_add(&words, argv[i]);
	return process_run_until(ret, words.items, cancel_fd, timeout);
}

bool probe_is_shortage(int error)
{
	static const int shortages[] = {
		EMFILE, ENFILE, ENOMEM, EAGAIN, ENOSPC, EDQUOT, ECANCELED
	};

	for (size_t i = 0; i < array_size(shortages); i++)
		if (error == shortages[i])
			return true;
	return false;
}
