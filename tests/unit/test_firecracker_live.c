/* SPDX-License-Identifier: Apache-2.0 */

/* What Firecracker is told while its guest is there: its words, and that its API description has
 * them. */

#include "base/clock.h"
#include "base/text.h"
#include "runtime/firecracker_live.h"
#include "tests/support/api_schema.h"
#include "tests/support/firecracker_bench.h"
#include "tests/support/lone_job.h"
#include "tests/support/spec_text.h"

#include <criterion/criterion.h>
#include <string.h>

enum {
	RANDOM_PAIRS = 500,
};

/* The suite's bench is not used: nothing runs here. */
#define BUCKET(size) "{\"size\": " size ", \"refill_time_ms\": 100}"

static const char plain[] = "{\"drives\": [{\"drive_id\": \"root\", \"path\": \"/a\"},"
			    " {\"drive_id\": \"d-1\", \"path\": \"/b\"}],"
			    " \"network_interfaces\": [{\"interface_id\": \"eth-0\"}],"
			    " \"devices\": {\"balloon\": {\"amount_mib\": 8, \"stats_interval\": "
			    "1000000}, \"mmds\": {}}}";

static const char changed[] =
	"{\"drives\": [{\"drive_id\": \"root\", \"path\": \"/a\","
	" \"rate_limiter\": {\"ops\": {\"size\": 5, \"one_time_burst\": 6, "
	"\"refill_time_ms\": 7}}},"
	" {\"drive_id\": \"d-1\", \"path\": \"/c\"}],"
	" \"network_interfaces\": [{\"interface_id\": \"eth-0\","
	" \"rx_rate_limiter\": {\"bandwidth\": " BUCKET(
		"9") "}}],"
		     " \"devices\": {\"balloon\": {\"amount_mib\": 9, \"stats_interval\": 2000000},"
		     " \"mmds\": {\"content\": \"{\\\"a\\\": 1}\"}}}";

#define NONE "{\"refill_time\":0,\"size\":0}"

/* The requests from @from to @to, one a line; the VMM sees the disks below /jail. */
static char *told(const FirecrackerLive *live)
{
	char *text = text_dup("");

	for (size_t i = 0; i < live->count; i++) {
		const FirecrackerChange *change = &live->changes[i];
		cleanup_free char *before = text;
		cleanup_free char *body = json_dumps(change->body, JSON_COMPACT | JSON_SORT_KEYS);

		text = text_printf("%s%s %s %s\n", before, change->method, change->path, body);
	}
	return text;
}

static FirecrackerLive *live_of(const VmSpec *from, const VmSpec *to)
{
	static const char *const paths[SPEC_DRIVES_MAX] = { "/jail/0", "/jail/1" };

	return firecracker_live_new(from, to, paths);
}

static void check_told(const char *from, const char *to, const char *expected)
{
	cleanup_(spec_unrefp) VmSpec *before = from ? spec_from_text(from) : NULL;
	cleanup_(spec_unrefp) VmSpec *after = spec_from_text(to);
	cleanup_(firecracker_live_freep) FirecrackerLive *live = live_of(before, after);
	cleanup_free char *text = told(live);

	cr_assert_str_eq(text, expected);
}

Test(firecracker_live, nothing_is_said_of_what_stays)
{
	check_told(plain, plain, "");
	check_told(changed, changed, "");
}

Test(firecracker_live, every_difference_is_told)
{
	check_told(plain, changed,
		   "PATCH /drives/root {\"drive_id\":\"root\",\"rate_limiter\":{"
		   "\"bandwidth\":" NONE ","
		   "\"ops\":{\"one_time_burst\":6,\"refill_time\":7,\"size\":5}}}\n"
		   "PATCH /drives/d_1 {\"drive_id\":\"d_1\",\"path_on_host\":\"/jail/1\"}\n"
		   "PATCH /network-interfaces/eth_0 {\"iface_id\":\"eth_0\",\"rx_rate_limiter\":{"
		   "\"bandwidth\":{\"refill_time\":100,\"size\":9},\"ops\":" NONE "}}\n"
		   "PATCH /balloon {\"amount_mib\":9}\n"
		   "PATCH /balloon/statistics {\"stats_polling_interval_s\":2}\n"
		   "PUT /mmds {\"a\":1}\n");
}

Test(firecracker_live, the_way_back_has_the_same_requests_with_the_old_values)
{
	check_told(changed, plain,
		   "PATCH /drives/root {\"drive_id\":\"root\",\"rate_limiter\":{"
		   "\"bandwidth\":" NONE ",\"ops\":" NONE "}}\n"
		   "PATCH /drives/d_1 {\"drive_id\":\"d_1\",\"path_on_host\":\"/jail/1\"}\n"
		   "PATCH /network-interfaces/eth_0 {\"iface_id\":\"eth_0\",\"rx_rate_limiter\":{"
		   "\"bandwidth\":" NONE ",\"ops\":" NONE "}}\n"
		   "PATCH /balloon {\"amount_mib\":8}\n"
		   "PATCH /balloon/statistics {\"stats_polling_interval_s\":1}\n"
		   "PUT /mmds {}\n");
}

static const char whole[] =
	"PATCH /drives/root {\"drive_id\":\"root\",\"path_on_host\":\"/jail/0\",\"rate_limiter\":{"
	"\"bandwidth\":" NONE ",\"ops\":" NONE "}}\n"
	"PATCH /drives/d_1 {\"drive_id\":\"d_1\",\"path_on_host\":\"/jail/1\",\"rate_limiter\":{"
	"\"bandwidth\":" NONE ",\"ops\":" NONE "}}\n"
	"PATCH /network-interfaces/eth_0 {\"iface_id\":\"eth_0\",\"rx_rate_limiter\":{"
	"\"bandwidth\":" NONE ",\"ops\":" NONE "},\"tx_rate_limiter\":{"
	"\"bandwidth\":" NONE ",\"ops\":" NONE "}}\n"
	"PATCH /balloon {\"amount_mib\":8}\n"
	"PATCH /balloon/statistics {\"stats_polling_interval_s\":1}\n"
	"PUT /mmds {}\n";

Test(firecracker_live, from_nowhere_all_is_told)
{
	check_told(NULL, plain, whole);
	check_told(NULL, "{}", "");
	check_told(NULL, "{\"devices\": {\"balloon\": {\"amount_mib\": 1}}}",
		   "PATCH /balloon {\"amount_mib\":1}\n");
}

static void check_spared(const char *config, const char *expected)
{
	cleanup_(spec_unrefp) VmSpec *spec = spec_from_text(plain);
	cleanup_(firecracker_live_freep) FirecrackerLive *live = live_of(NULL, spec);
	json_t *json = json_loads(config, 0, NULL);
	char *text;

	firecracker_live_spare(live, json);

	text = told(live);
	cr_assert_str_eq(text, expected);
	free(text);
	json_decref(json);
}

Test(firecracker_live, what_the_vmm_has_already_is_spared)
{
	check_spared("{\"drives\": [{\"drive_id\": \"d_1\", \"path_on_host\": \"/jail/1\"},"
		     " {\"drive_id\": \"root\", \"path_on_host\": \"/other\"}],"
		     " \"balloon\": {\"amount_mib\": 8, \"stats_polling_interval_s\": 3}}",
		     "PATCH /drives/root {\"drive_id\":\"root\",\"path_on_host\":\"/jail/0\","
		     "\"rate_limiter\":{\"bandwidth\":" NONE ",\"ops\":" NONE "}}\n"
		     "PATCH /drives/d_1 {\"drive_id\":\"d_1\",\"rate_limiter\":{"
		     "\"bandwidth\":" NONE ",\"ops\":" NONE "}}\n"
		     "PATCH /network-interfaces/eth_0 {\"iface_id\":\"eth_0\","
		     "\"rx_rate_limiter\":{\"bandwidth\":" NONE ",\"ops\":" NONE "},"
		     "\"tx_rate_limiter\":{\"bandwidth\":" NONE ",\"ops\":" NONE "}}\n"
		     "PATCH /balloon/statistics {\"stats_polling_interval_s\":1}\n"
		     "PUT /mmds {}\n");
	check_spared("{\"balloon\": {\"amount_mib\": 7, \"stats_polling_interval_s\": 2}}", whole);
	check_spared("{}", whole);
	check_spared("{\"drives\": 1, \"balloon\": \"x\"}", whole);
}

static VmRateLimiter *random_limiter(void)
{
	VmRateLimiter *limiter = random() % 3 ? new0(VmRateLimiter) : NULL;
	VmTokenBucket bucket = { (uint64_t)random() + 1, (uint64_t)random(),
				 (uint64_t)random() % 86400000 + 1 };

	if (limiter && random() % 2) {
		limiter->ops = new0(VmTokenBucket);
		*limiter->ops = bucket;
	}
	if (limiter && random() % 2) {
		limiter->bandwidth = new0(VmTokenBucket);
		*limiter->bandwidth = bucket;
	}
	return limiter;
}

/* The parts that may change are random, what they are of is not. */
static VmSpec *random_spec(size_t drives, size_t interfaces, bool devices)
{
	VmSpec *spec = spec_new();

	for (size_t i = 0; i < drives; i++) {
		VmDrive *drive = field_list_add(&spec->drives, &vm_drive_table);

		drive->drive_id = text_printf("d-%zu", i);
		drive->path = text_printf("/disk/%ld", random() % 3);
		drive->rate_limiter = random_limiter();
	}
	for (size_t i = 0; i < interfaces; i++) {
		VmInterface *interface =
			field_list_add(&spec->network_interfaces, &vm_interface_table);

		interface->interface_id = text_printf("eth-%zu", i);
		interface->rx_rate_limiter = random_limiter();
		interface->tx_rate_limiter = random_limiter();
	}
	if (!devices)
		return spec;
	spec->devices = new0(VmDevices);
	spec->devices->balloon = new0(VmBalloon);
	spec->devices->balloon->amount_mib = (uint64_t)random() % 3;
	spec->devices->balloon->stats_interval = (random() % 3 + 1) * (int64_t)USEC_PER_SEC;
	spec->devices->mmds = new0(VmMmds);
	spec->devices->mmds->content = random() % 2 ? text_dup("{\"a\": [1, null]}") : NULL;
	return spec;
}

static void check_fits(json_t *schema, const FirecrackerLive *live)
{
	for (size_t i = 0; i < live->count; i++) {
		const FirecrackerChange *change = &live->changes[i];
		const char *method = strcmp(change->method, "PUT") == 0 ? "put" : "patch";
		char why[200] = "";

		if (strcmp(change->path, "/mmds") == 0) { /* the caller's, of any form */
			cr_assert(json_is_object(change->body));
			continue;
		}
		cr_assert_eq(api_schema_check(schema, method, change->path, change->body, why,
					      sizeof why),
			     0, "%s %s: %s", method, change->path, why);
	}
}

Test(firecracker_live, every_request_fits_the_api_description_and_has_its_way_back)
{
	json_t *schema = firecracker_bench_description();
	const char *paths[SPEC_DRIVES_MAX];

	for (size_t i = 0; i < array_size(paths); i++)
		paths[i] = "/somewhere";
	srandom(5);
	for (int i = 0; i < RANDOM_PAIRS; i++) {
		size_t drives = (size_t)random() % (SPEC_DRIVES_MAX + 1);
		size_t interfaces = (size_t)random() % (SPEC_INTERFACES_MAX + 1);
		bool devices = random() % 2;
		cleanup_(spec_unrefp) VmSpec *from = random_spec(drives, interfaces, devices);
		cleanup_(spec_unrefp) VmSpec *to = random_spec(drives, interfaces, devices);
		cleanup_(firecracker_live_freep) FirecrackerLive *there =
			firecracker_live_new(from, to, paths);
		cleanup_(firecracker_live_freep) FirecrackerLive *back =
			firecracker_live_new(to, from, paths);
		cleanup_(firecracker_live_freep) FirecrackerLive *all =
			firecracker_live_new(NULL, to, paths);

		check_fits(schema, there);
		check_fits(schema, back);
		check_fits(schema, all);
		cr_assert_eq(there->count, back->count);
		for (size_t k = 0; k < there->count; k++)
			cr_assert_str_eq(there->changes[k].path, back->changes[k].path);
	}
	json_decref(schema);
}
