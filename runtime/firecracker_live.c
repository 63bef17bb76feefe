/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/firecracker_live.h"

#include "base/clock.h"
#include "base/text.h"
#include "runtime/firecracker_json.h"

#include <assert.h>
#include <string.h>

static const char balloon_path[] = "/balloon";
static const char statistics_path[] = "/balloon/statistics";

/* Adds a request and takes what is in it. */
static void add(FirecrackerLive *live, FirecrackerChange change)
{
	assert(change.body); /* texts are UTF-8: checked with the spec */
	live->changes = must_realloc(live->changes, live->count + 1, sizeof *live->changes);
	live->changes[live->count++] = change;
}

static bool same_limits(const VmRateLimiter *a, const VmRateLimiter *b)
{
	return a && b ? fields_equal(&vm_rate_limiter_table, a, b) : a == b;
}

/* @was may be NULL: unknown. */
static void add_drive(FirecrackerLive *live, const VmDrive *was, const VmDrive *drive,
		      const char *path)
{
	cleanup_free char *id = firecracker_id(drive->drive_id);
	bool moves = !was || !text_equal(was->path, drive->path);
	bool limits = !was || !same_limits(was->rate_limiter, drive->rate_limiter);
	json_t *body;

	if (!moves && !limits)
		return;
	body = json_pack("{s:s}", "drive_id", id);
	if (moves)
		(void)json_object_set_new(body, "path_on_host", json_string(path));
	if (limits)
		(void)json_object_set_new(body, "rate_limiter",
					  firecracker_rate_limiter_update(drive->rate_limiter));
	add(live, (FirecrackerChange){ "PATCH", text_printf("/drives/%s", id), body });
}

static void add_interface(FirecrackerLive *live, const VmInterface *was, const VmInterface *to)
{
	cleanup_free char *id = firecracker_id(to->interface_id);
	bool rx = !was || !same_limits(was->rx_rate_limiter, to->rx_rate_limiter);
	bool tx = !was || !same_limits(was->tx_rate_limiter, to->tx_rate_limiter);
	json_t *body;

	if (!rx && !tx)
		return;
	body = json_pack("{s:s}", "iface_id", id);
	if (rx)
		(void)json_object_set_new(body, "rx_rate_limiter",
					  firecracker_rate_limiter_update(to->rx_rate_limiter));
	if (tx)
		(void)json_object_set_new(body, "tx_rate_limiter",
					  firecracker_rate_limiter_update(to->tx_rate_limiter));
	add(live, (FirecrackerChange){ "PATCH", text_printf("/network-interfaces/%s", id), body });
}

static void add_balloon(FirecrackerLive *live, const VmBalloon *was, const VmBalloon *to)
{
	if (!to)
		return;
	if (!was || was->amount_mib != to->amount_mib)
		add(live, (FirecrackerChange){
				  "PATCH", text_dup(balloon_path),
				  json_pack("{s:I}", "amount_mib", (json_int_t)to->amount_mib) });
	/* Statistics are on from the boot or never. */
	if (to->stats_interval && (!was || was->stats_interval != to->stats_interval))
		add(live, (FirecrackerChange){
				  "PATCH", text_dup(statistics_path),
				  json_pack("{s:I}", "stats_polling_interval_s",
					    (json_int_t)(to->stats_interval / USEC_PER_SEC)) });
}

static void add_mmds(FirecrackerLive *live, const VmMmds *was, const VmMmds *to)
{
	if (!to || (was && text_equal(was->content, to->content)))
		return;
	add(live,
	    (FirecrackerChange){ "PUT", text_dup("/mmds"),
				 text_equal(to->content, "") ? json_object()
							     : json_loads(to->content, 0, NULL) });
}

FirecrackerLive *firecracker_live_new(const VmSpec *from, const VmSpec *to,
				      const char *const *drive_paths)
{
	FirecrackerLive *live = new0(FirecrackerLive);

	for (size_t i = 0; i < to->drives.count; i++)
		add_drive(live, from ? spec_drive(from, i) : NULL, spec_drive(to, i),
			  drive_paths[i]);
	for (size_t i = 0; i < to->network_interfaces.count; i++)
		add_interface(live, from ? spec_interface(from, i) : NULL, spec_interface(to, i));
	add_balloon(live, from ? spec_balloon(from) : NULL, spec_balloon(to));
	add_mmds(live, from ? spec_mmds(from) : NULL, spec_mmds(to));
	return live;
}

static void clear(FirecrackerChange *change)
{
	free(change->path);
	json_decref(change->body);
}

void firecracker_live_free(FirecrackerLive *live)
{
	if (!live)
		return;
	for (size_t i = 0; i < live->count; i++)
		clear(&live->changes[i]);
	free(live->changes);
	free(live);
}

/* What @config says of the drive @id; NULL if nothing. */
static const json_t *find_drive(const json_t *config, const char *id)
{
	const json_t *drives = json_object_get(config, "drives");

	for (size_t i = 0; i < json_array_size(drives); i++) {
		const json_t *drive = json_array_get(drives, i);

		if (text_equal(json_string_value(json_object_get(drive, "drive_id")), id))
			return drive;
	}
	return NULL;
}

/* Leaves the disk alone that is the drive's already. */
static void spare_disk(json_t *body, const json_t *config)
{
	const char *id = json_string_value(json_object_get(body, "drive_id"));
	const json_t *now = json_object_get(find_drive(config, id), "path_on_host");

	if (now && json_equal(now, json_object_get(body, "path_on_host")))
		(void)json_object_del(body, "path_on_host");
}

/* Does @config have what this change of the balloon, a body of one member, would make of it? */
static bool balloon_has(const json_t *config, json_t *body)
{
	const json_t *balloon = json_object_get(config, "balloon");
	void *member = json_object_iter(body);

	return json_equal(json_object_get(balloon, json_object_iter_key(member)),
			  json_object_iter_value(member));
}

void firecracker_live_spare(FirecrackerLive *live, const json_t *config)
{
	size_t kept = 0;

	for (size_t i = 0; i < live->count; i++) {
		FirecrackerChange change = live->changes[i];
		bool is_balloon = strcmp(change.path, balloon_path) == 0 ||
				  strcmp(change.path, statistics_path) == 0;

		if (json_object_get(change.body, "drive_id"))
			spare_disk(change.body, config);
		if (is_balloon && balloon_has(config, change.body))
			clear(&change);
		else
			live->changes[kept++] = change;
	}
	live->count = kept;
}
