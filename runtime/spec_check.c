/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/text.h"
#include "netfw/prefix.h"
#include "runtime/egress.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

/* What the field tables cannot say: rules between fields, and texts with a form of their own. */

enum {
	FIELD_BYTES = 80,     /* of a violation's field */
	LINK_LOCAL = 0xa9fe,  /* 169.254 */
	JSON_DEPTH_MAX = 127, /* that Firecracker reads */
};

static void check_root(const VmSpec *spec, Error *err)
{
	for (size_t i = 1; i < spec->drives.count && i < SPEC_DRIVES_MAX; i++) {
		char field[FIELD_BYTES];

		if (!spec_drive(spec, i)->is_root)
			continue;
		(void)snprintf(field, sizeof field, "spec.drives[%zu].is_root", i);
		(void)error_add_violation(err, field, "only the first drive can be the root");
	}
}

static void refuse_drive(Error *err, size_t i, const char *field, const char *why)
{
	char path[FIELD_BYTES];

	(void)snprintf(path, sizeof path, "spec.drives[%zu].%s", i, field);
	(void)error_add_violation(err, path, "%s", why);
}

/* What the @i-th is made of. */
static void check_drive(const VmSpec *spec, size_t i, Error *err)
{
	const VmDrive *drive = spec_drive(spec, i);
	bool templated = drive_has_template(drive), has_path = !text_equal(drive->path, "");

	if (drive_is_own(drive) && has_path)
		refuse_drive(err, i, "path", "not together with template_id");
	if (templated && !text_is_id(drive->template_id))
		refuse_drive(err, i, "template_id", "must be an id, as a VM's");
	if (!drive_is_own(drive) && !has_path)
		refuse_drive(err, i, "path", "required, or template_id");
	if (!templated && drive->size_mib)
		refuse_drive(err, i, "size_mib", "needs template_id");
	if (drive->from_snapshot && (!spec->restore_from || templated))
		refuse_drive(err, i, "from_snapshot", "is not to be asked for");
}

static void check_drives(const VmSpec *spec, Error *err)
{
	for (size_t i = 0; i < spec->drives.count && i < SPEC_DRIVES_MAX; i++)
		check_drive(spec, i, err);
}

/* How deep arrays and objects stand in each other in @text, if it is JSON. */
static size_t json_depth(const char *text)
{
	size_t depth = 0, deepest = 0;
	bool quoted = false;

	for (; *text; text++) {
		if (quoted && *text == '\\' && text[1])
			text++;
		else if (*text == '"')
			quoted = !quoted;
		else if (!quoted && strchr("{[", *text) && ++depth > deepest)
			deepest = depth;
		else if (!quoted && strchr("}]", *text) && depth)
			depth--;
	}
	return deepest;
}

static void check_json_object(const char *text, const char *field, Error *err)
{
	json_error_t problem;
	json_t *json;

	if (text_equal(text, ""))
		return;
	if (json_depth(text) > JSON_DEPTH_MAX) {
		(void)error_add_violation(err, field, "must be at most %d deep, is %zu",
					  JSON_DEPTH_MAX, json_depth(text));
		return;
	}
	json = json_loads(text, JSON_REJECT_DUPLICATES, &problem);
	if (!json)
		(void)error_add_violation(err, field, "is not JSON: line %d column %d: %.80s",
					  problem.line, problem.column, problem.text);
	else if (!json_is_object(json))
		(void)error_add_violation(err, field, "must be a JSON object");
	json_decref(json);
}

static void check_machine(const VmSpec *spec, Error *err)
{
	const VmMachine *machine = spec->machine;

	if (!machine)
		return;
	if (machine->smt && spec_vcpus(spec) > 1 && spec_vcpus(spec) % 2)
		(void)error_add_violation(err, "spec.machine.vcpus",
					  "must be 1 or even with smt, is %" PRIu32,
					  spec_vcpus(spec));
	if (machine->huge_pages > VM_HUGE_PAGES_NONE && spec_memory_mib(spec) % 2)
		(void)error_add_violation(err, "spec.machine.memory_mib",
					  "must be even with huge pages, is %" PRIu64,
					  spec_memory_mib(spec));
	if (machine->cpu_template && !text_equal(machine->cpu_config, ""))
		(void)error_add_violation(err, "spec.machine.cpu_config",
					  "not together with cpu_template");
	check_json_object(machine->cpu_config, "spec.machine.cpu_config", err);
}

/* Six octets of two digits, unicast, not all zero. The bytes themselves the table has checked. */
static bool mac_is_good(const char *mac)
{
	unsigned first = 0, all = 0;

	if (strlen(mac) != 17)
		return false;
	for (size_t i = 0; i < 17; i += 3) {
		char octet[3] = { mac[i], mac[i + 1], '\0' };

		if (!isxdigit((unsigned char)octet[0]) || !isxdigit((unsigned char)octet[1]) ||
		    (i + 2 < 17 && mac[i + 2] != ':'))
			return false;
		all |= (unsigned)strtoul(octet, NULL, 16);
		if (i == 0)
			first = all;
	}
	return all && !(first & 1);
}

/* Is the MAC of the @i-th interface an earlier one's too, in whatever case its digits are? */
static bool mac_is_repeated(const VmSpec *spec, size_t i)
{
	for (size_t k = 0; k < i; k++) {
		const char *mac = spec_interface(spec, k)->guest_mac;

		if (mac && strcasecmp(mac, spec_interface(spec, i)->guest_mac) == 0)
			return true;
	}
	return false;
}

static void check_mac(const VmSpec *spec, size_t i, Error *err)
{
	const char *mac = spec_interface(spec, i)->guest_mac;
	char field[FIELD_BYTES];

	if (text_equal(mac, ""))
		return;
	(void)snprintf(field, sizeof field, "spec.network_interfaces[%zu].guest_mac", i);
	if (!mac_is_good(mac))
		(void)error_add_violation(err, field,
					  "must be a unicast address such as "
					  "02:00:00:00:00:01, not all zero");
	else if (mac_is_repeated(spec, i))
		(void)error_add_violation(err, field, "is another element's already");
}

/* An address asked for: of the first interface, which alone is part of a network. */
static void check_address(size_t i, const char *name, uint8_t family, const char *address,
			  Error *err)
{
	char field[FIELD_BYTES];
	Prefix parsed;

	if (text_equal(address, ""))
		return;
	(void)snprintf(field, sizeof field, "spec.network_interfaces[%zu].%s", i, name);
	if (i > 0)
		(void)error_add_violation(err, field, "only the first interface has addresses");
	if (prefix_parse_address(&parsed, address) < 0 || parsed.family != family)
		(void)error_add_violation(err, field, "is no IPv%u address", family);
}

static void check_interfaces(const VmSpec *spec, Error *err)
{
	for (size_t i = 0; i < spec->network_interfaces.count && i < SPEC_INTERFACES_MAX; i++) {
		const VmInterface *interface = spec_interface(spec, i);
		char field[FIELD_BYTES];

		check_mac(spec, i, err);
		check_address(i, "ipv4_address", 4, interface->ipv4_address, err);
		check_address(i, "ipv6_address", 6, interface->ipv6_address, err);
		if (!interface->mmds || spec_mmds(spec))
			continue;
		(void)snprintf(field, sizeof field, "spec.network_interfaces[%zu].mmds", i);
		(void)error_add_violation(err, field, "needs spec.devices.mmds");
	}
}

static void check_balloon(const VmSpec *spec, Error *err)
{
	const VmBalloon *balloon = spec_balloon(spec);

	if (!balloon)
		return;
	if (balloon->amount_mib >= spec_memory_mib(spec))
		(void)error_add_violation(err, "spec.devices.balloon.amount_mib",
					  "must be less than the machine's %" PRIu64
					  " MiB, is %" PRIu64,
					  spec_memory_mib(spec), balloon->amount_mib);
	if (balloon->stats_interval % USEC_PER_SEC)
		(void)error_add_violation(err, "spec.devices.balloon.stats_interval",
					  "must be whole seconds");
}

static bool has_mmds_interface(const VmSpec *spec)
{
	for (size_t i = 0; i < spec->network_interfaces.count; i++)
		if (spec_interface(spec, i)->mmds)
			return true;
	return false;
}

/* 169.254.1.0 to 169.254.254.255, as RFC 3927 leaves for use. */
static bool is_link_local(const char *address)
{
	struct in_addr parsed;
	uint32_t number;

	if (inet_pton(AF_INET, address, &parsed) != 1)
		return false;
	number = ntohl(parsed.s_addr);
	return number >> 16 == LINK_LOCAL && (number >> 8 & 0xff) != 0 &&
	       (number >> 8 & 0xff) != 0xff;
}

static void check_mmds(const VmSpec *spec, Error *err)
{
	const VmMmds *mmds = spec_mmds(spec);

	if (!mmds)
		return;
	check_json_object(mmds->content, "spec.devices.mmds.content", err);
	if (!text_equal(mmds->ipv4_address, "") && !is_link_local(mmds->ipv4_address))
		(void)error_add_violation(err, "spec.devices.mmds.ipv4_address",
					  "must be in 169.254.1.0 to 169.254.254.255");
	if (!has_mmds_interface(spec))
		(void)error_add_violation(err, "spec.devices.mmds",
					  "needs a network interface with mmds");
}

static void check_limits(const VmSpec *spec, Error *err)
{
	uint64_t least = spec_memory_mib(spec) + SPEC_OVERHEAD_MIN_MIB;

	if (spec->limits && spec->limits->memory_mib && spec->limits->memory_mib < least)
		(void)error_add_violation(err, "spec.limits.memory_mib",
					  "must be at least the guest's memory and %d: %" PRIu64
					  ", is %" PRIu64,
					  SPEC_OVERHEAD_MIN_MIB, least, spec->limits->memory_mib);
}

/* As SetSecret has them. */
static void check_secrets(const VmSpec *spec, Error *err)
{
	for (size_t i = 0; i < spec->secrets.count && i < SPEC_SECRETS_MAX; i++) {
		const char *name = spec->secrets.items[i];
		char path[32];

		(void)snprintf(path, sizeof path, "spec.secrets[%zu]", i);
		if (strlen(name) > SPEC_SECRET_NAME_MAX || name[0] == '.')
			(void)error_add_violation(err, path, "must be up to %d bytes, no dot first",
						  SPEC_SECRET_NAME_MAX);
		for (size_t k = 0; k < i; k++)
			if (strcmp(spec->secrets.items[k], name) == 0)
				(void)error_add_violation(err, path, "is spec.secrets[%zu] as well",
							  k);
	}
}

static void check_together(const VmSpec *spec, Error *err)
{
	const VmRestartPolicy *restart = spec->restart_policy;

	check_machine(spec, err);
	check_root(spec, err);
	check_drives(spec, err);
	check_interfaces(spec, err);
	egress_check(spec->egress, "spec.egress", err);
	check_balloon(spec, err);
	check_mmds(spec, err);
	check_limits(spec, err);
	check_secrets(spec, err);
	if (spec->expire_action && !spec->expires_at)
		(void)error_add_violation(err, "spec.expire_action", "needs spec.expires_at");
	if (restart && restart->max_backoff && restart->max_backoff < restart->initial_backoff)
		(void)error_add_violation(err, "spec.restart_policy.max_backoff",
					  "must be at least initial_backoff");
}

int spec_check(VmSpec *spec, Error *err)
{
	fields_check(&vm_spec_table, spec, "spec", err);
	check_together(spec, err);
	return error_is_set(err) ? -1 : 0;
}
