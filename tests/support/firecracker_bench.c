/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/firecracker_bench.h"

#include "base/process.h"
#include "base/text.h"
#include "tests/support/api_schema.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

enum {
	CONSOLE_MAX = 256 * 1024,
};

char *firecracker_bench_find(void)
{
	const char *told = getenv("FIRECRACKER_BIN");

	return told && *told ? text_dup(told) : process_find("firecracker");
}

Backend *firecracker_bench_backend(const QemuBench *bench, const char *firecracker)
{
	cleanup_free char *keeper = text_printf("%s/hearth-keeper", bench->bin);
	cleanup_free char *jails = text_printf("%s/jail", bench->dir);
	const BackendConfig config = {
		.keeper_path = keeper,
		.firecracker_path = firecracker,
		.console_max_bytes = CONSOLE_MAX,
		.jail = { .dir = jails, .group = "hearth-test" },
	};

	return firecracker_new(&config);
}

/* ctest shows it for a suite that is asked for its output; tests/run looks for the line. */
static void skip(const char *why)
{
	(void)fprintf(stderr, "skipped: %s\n", why);
	cr_skip_test("%s", why);
}

json_t *firecracker_bench_description(void)
{
	static const char beside[] = "/../shared/data/firecracker-api.yaml";
	cleanup_free char *path = text_dup(getenv("HEARTH_FIRECRACKER_API"));
	json_t *schema = NULL;

	if (!path)
		path = text_printf("%s%s", HEARTH_SOURCE_DIR, beside);
	if (access(path, R_OK) < 0)
		skip("no API description of Firecracker: set HEARTH_FIRECRACKER_API");
	schema = api_schema_load(path);
	cr_assert_not_null(schema, "%s", path);
	return schema;
}

QemuBench *firecracker_bench_new(const char *boot_args)
{
	cleanup_free char *firecracker = firecracker_bench_find();
	cleanup_(qemu_bench_freep) QemuBench *bench = NULL;
	BackendInfo info = { 0 };

	if (!firecracker)
		skip("no firecracker on PATH or in FIRECRACKER_BIN");
	bench = qemu_bench_new(boot_args);
	bench->backend->ops->free(bench->backend);
	bench->backend = firecracker_bench_backend(bench, firecracker);
	bench->job.backend = bench->backend;
	free(bench->spec->boot->kernel_path);
	bench->spec->boot->kernel_path = text_printf("%s/../guest/guest64.elf", bench->bin);
	bench->backend->ops->probe(bench->backend, &info);
	if (!info.available) {
		qemu_bench_free(take_ptr(bench));
		skip(info.message);
	}
	return take_ptr(bench);
}

bool firecracker_bench_socket_exists(const QemuBench *bench)
{
	cleanup_free char *path = text_printf("%s/firecracker.sock", bench->run_dir);

	return access(path, F_OK) == 0;
}
