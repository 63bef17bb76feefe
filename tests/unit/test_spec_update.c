/* SPDX-License-Identifier: Apache-2.0 */

/* Which parts of a spec an update takes, and which it may take while the VM runs. */

#include "base/clock.h"
#include "base/text.h"
#include "runtime/spec_update.h"

#include <criterion/criterion.h>
#include <string.h>

/* A spec with two drives, an interface, a balloon with statistics and metadata. */
static VmSpec *make_spec(void)
{
	static const char text[] =
		"{\"drives\": [{\"drive_id\": \"root\", \"path\": \"/a\"},"
		" {\"drive_id\": \"data\", \"path\": \"/b\"}],"
		" \"network_interfaces\": [{\"interface_id\": \"eth0\", \"mmds\": true}],"
		" \"devices\": {\"balloon\": {\"amount_mib\": 8, \"stats_interval\": 1000000},"
		" \"mmds\": {\"content\": \"{}\"}}}";
	VmSpec *spec = spec_new();
	json_t *json = json_loads(text, 0, NULL);

	cr_assert_eq(fields_from_json(&vm_spec_table, spec, json), 0);
	json_decref(json);
	return spec;
}

static VmDrive *drive_of(VmSpec *spec, size_t i)
{
	return &((VmDrive *)spec->drives.items)[i];
}

static VmInterface *interface_of(VmSpec *spec)
{
	return spec->network_interfaces.items;
}

static void set_text(char **at, const char *text)
{
	free(*at);
	*at = text_dup(text);
}

/* Exactly @words is said against going from make_spec() to @to. */
static void check_refused(VmSpec *to, const char *words)
{
	cleanup_(spec_unrefp) VmSpec *spec = make_spec();
	Error err = { 0 };

	cr_assert_eq(spec_update_check_live(spec, to, &err), -1);

	cr_assert_eq(err.kind, ERROR_INVALID_REQUEST);
	cr_assert_str_eq(err.what, words);
	spec_unref(to);
}

Test(spec_update, every_part_has_a_bit_and_a_name)
{
	static const char *const paths[] = { "labels",          "restart_policy",
					     "expires_at",      "expire_action",
					     "drives",          "network_interfaces",
					     "devices.balloon", "devices.mmds",
					     "egress" };
	cleanup_free char *names = spec_update_names();
	unsigned all = 0;

	for (size_t i = 0; i < array_size(paths); i++) {
		unsigned bit = spec_update_bit(paths[i]);

		cr_assert_str_eq(spec_update_name(bit), paths[i]);
		cr_assert_not_null(strstr(names, paths[i]));
		cr_assert_eq(all & bit, 0);
		all |= bit;
	}
	cr_assert_eq(spec_update_bit("machine"), 0);
	cr_assert_eq(spec_update_bit("devices"), 0);
	cr_assert_eq(all & RUNTIME_UPDATE_LIVE, RUNTIME_UPDATE_LIVE);
}

Test(spec_update, a_part_is_taken_and_the_rest_stays)
{
	cleanup_(spec_unrefp) VmSpec *spec = make_spec();
	cleanup_(spec_unrefp) VmSpec *from = spec_new();
	cleanup_(spec_unrefp) VmSpec *next = NULL;

	from->devices = new0(VmDevices);
	from->devices->balloon = new0(VmBalloon);
	from->devices->balloon->amount_mib = 9;

	next = spec_updated(spec, from, RUNTIME_UPDATE_BALLOON | RUNTIME_UPDATE_INTERFACES);

	cr_assert_eq(spec_balloon(next)->amount_mib, 9);
	cr_assert_eq(spec_balloon(next)->stats_interval, 0);
	cr_assert_eq(next->network_interfaces.count, 0);
	cr_assert_str_eq(spec_mmds(next)->content, "{}");
	cr_assert_eq(spec_update_difference(spec, next, ~0U),
		     RUNTIME_UPDATE_BALLOON | RUNTIME_UPDATE_INTERFACES);
	cr_assert_eq(spec_update_difference(spec, next, RUNTIME_UPDATE_MMDS), 0);
}

Test(spec_update, a_device_comes_and_goes)
{
	cleanup_(spec_unrefp) VmSpec *none = spec_new();
	cleanup_(spec_unrefp) VmSpec *full = make_spec();
	cleanup_(spec_unrefp) VmSpec *came = spec_updated(none, full, RUNTIME_UPDATE_MMDS);
	cleanup_(spec_unrefp) VmSpec *went = spec_updated(came, none, RUNTIME_UPDATE_MMDS);

	cr_assert_str_eq(spec_mmds(came)->content, "{}");
	cr_assert_null(spec_balloon(came));
	cr_assert_null(spec_mmds(went));
	cr_assert_eq(spec_update_difference(none, came, ~0U), RUNTIME_UPDATE_MMDS);
	cr_assert_eq(spec_update_difference(none, went, ~0U), 0);
}

Test(spec_update, taking_nothing_from_nothing_makes_nothing)
{
	cleanup_(spec_unrefp) VmSpec *none = spec_new();
	cleanup_(spec_unrefp) VmSpec *next = NULL;
	cleanup_(spec_unrefp) VmSpec *empty = spec_new();

	empty->devices = new0(VmDevices);

	next = spec_updated(none, empty, RUNTIME_UPDATE_LIVE);

	cr_assert_null(next->devices);
}

Test(spec_update, what_a_vmm_can_be_told_may_change_while_it_runs)
{
	cleanup_(spec_unrefp) VmSpec *spec = make_spec();
	cleanup_(spec_unrefp) VmSpec *to = make_spec();
	Error err = { 0 };

	set_text(&drive_of(to, 1)->path, "/other");
	drive_of(to, 0)->rate_limiter = new0(VmRateLimiter);
	interface_of(to)->rx_rate_limiter = new0(VmRateLimiter);
	interface_of(to)->tx_rate_limiter = new0(VmRateLimiter);
	to->devices->balloon->amount_mib = 9;
	to->devices->balloon->stats_interval = INT64_C(2) * USEC_PER_SEC;
	set_text(&to->devices->mmds->content, "{\"a\": 1}");

	cr_assert_eq(spec_update_check_live(spec, to, &err), 0, "%s", err.what);
}

Test(spec_update, all_that_cannot_change_is_named_at_once)
{
	VmSpec *to = make_spec();

	set_text(&drive_of(to, 0)->drive_id, "other");
	drive_of(to, 1)->read_only = true;
	drive_of(to, 1)->cache_type = VM_CACHE_WRITEBACK;
	interface_of(to)->mtu = 1400;
	to->devices->balloon->deflate_on_oom = true;
	to->devices->mmds->imds_compat = true;

	check_refused(to, "spec.drives[0].drive_id: cannot change while the VM runs; "
			  "spec.drives[1].read_only: cannot change while the VM runs; "
			  "spec.drives[1].cache_type: cannot change while the VM runs; "
			  "spec.network_interfaces[0].mtu: cannot change while the VM runs; "
			  "spec.devices.balloon.deflate_on_oom: cannot change while the VM runs; "
			  "spec.devices.mmds.imds_compat: cannot change while the VM runs");
}

Test(spec_update, a_running_vm_neither_gains_nor_loses_a_device)
{
	cleanup_(spec_unrefp) VmSpec *full = make_spec();
	cleanup_(spec_unrefp) VmSpec *none = spec_new();
	Error err = { 0 };

	check_refused(spec_new(),
		      "spec.drives: cannot become more or fewer while the VM runs: there are 2; "
		      "spec.network_interfaces: cannot become more or fewer while the VM runs: "
		      "there are 1; "
		      "spec.devices.balloon: cannot be taken away while the VM runs; "
		      "spec.devices.mmds: cannot be taken away while the VM runs");
	cr_assert_eq(spec_update_check_live(none, full, &err), -1);
	cr_assert_not_null(
		strstr(err.what, "spec.devices.balloon: cannot be added while the VM runs"));
}

Test(spec_update, balloon_statistics_stay_on_or_off)
{
	cleanup_(spec_unrefp) VmSpec *off = make_spec();
	cleanup_(spec_unrefp) VmSpec *on = make_spec();
	VmSpec *to = make_spec();
	Error err = { 0 };

	to->devices->balloon->stats_interval = off->devices->balloon->stats_interval = 0;

	check_refused(to, "spec.devices.balloon.stats_interval: cannot be switched off while the "
			  "VM runs");
	cr_assert_eq(spec_update_check_live(off, on, &err), -1);
	cr_assert_not_null(strstr(err.what, "cannot be switched on"));
}
