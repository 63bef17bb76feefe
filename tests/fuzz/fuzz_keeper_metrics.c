/* SPDX-License-Identifier: Apache-2.0 */

/* A VMM's metrics: the first byte says how large the pieces are they arrive in. */

/* NOLINTNEXTLINE(bugprone-suspicious-include): the keeper is a program, not a library */
#include "runtime/keeper/metrics.c"
#include "runtime/vmm_metrics.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever is heard, what is written reads again, whole and in order. */
static void check_file(const KeeperMetrics *metrics)
{
	VmMetrics seen = { 0 };
	int r = vmm_metrics_load(&seen, metrics->run_dir);

	assert(r == 0);
	assert(seen.count == metrics->count && seen.flushes == metrics->flushes);
	for (size_t i = 0; i < seen.count; i++) {
		assert(strcmp(seen.items[i].name, metrics->leaves[i].name) == 0);
		assert(seen.items[i].value == metrics->leaves[i].value);
		assert(i == 0 || strcmp(seen.items[i - 1].name, seen.items[i].name) < 0);
	}
	vmm_metrics_clear(&seen);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char dir[] = "/tmp/hearth-fuzz-XXXXXX";
	size_t piece = size ? (size_t)data[0] + 1 : 1;
	cleanup_free char *path = NULL;
	KeeperMetrics *metrics;
	int r;

	if (!mkdtemp(dir))
		abort();
	path = text_printf("%s/metrics.json", dir);
	metrics = metrics_new(dir);
	for (size_t at = 1; at < size; at += piece)
		metrics_feed(metrics, (const char *)data + at,
			     piece < size - at ? piece : size - at);
	assert(metrics->used <= LINE_MAX_BYTES && metrics->count <= LEAVES_MAX);
	if (metrics->flushes)
		check_file(metrics);
	metrics_free(metrics);
	(void)unlink(path);
	r = rmdir(dir);
	assert(r == 0);
	return 0;
}
