/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/message.h"
#include "agent/ctl/parts.h"
#include "agent/ctl/request.h"
#include "base/text.h"

#include <string.h>

/* What create's options say of drives, interfaces, devices and limits. */

/* clang-format off */
#define AT(member) offsetof(Hearth__V1__Drive, member)
static const Part drive_parts[] = {
	{ "id",    PART_TEXT,      AT(drive_id), NULL },
	{ "path",  PART_TEXT,      AT(path), NULL },
	{ "template", PART_TEXT,   AT(template_id), NULL },
	{ "size",  PART_NUMBER, AT(size_mib), NULL },
	{ "root",  PART_TRUE,      AT(is_root), NULL },
	{ "ro",    PART_TRUE,      AT(read_only), NULL },
	{ "rw",    PART_FALSE,     AT(read_only), NULL },
	{ "cache", PART_ENUM,      AT(cache_type), &hearth__v1__cache_type__descriptor },
	{ "io",    PART_ENUM,      AT(io_engine), &hearth__v1__io_engine__descriptor },
	{ "bw",    PART_BANDWIDTH, AT(rate_limiter), NULL },
	{ "ops",   PART_OPS,       AT(rate_limiter), NULL },
	{ 0 },
};
#undef AT

#define AT(member) offsetof(Hearth__V1__NetworkInterface, member)
static const Part interface_parts[] = {
	{ "id",     PART_TEXT,      AT(interface_id), NULL },
	{ "mac",    PART_TEXT,      AT(guest_mac), NULL },
	{ "mtu",    PART_NUMBER,    AT(mtu), NULL },
	{ "ip",     PART_TEXT,      AT(ipv4_address), NULL },
	{ "ip6",    PART_TEXT,      AT(ipv6_address), NULL },
	{ "mmds",   PART_TRUE,      AT(mmds), NULL },
	{ "rx-bw",  PART_BANDWIDTH, AT(rx_rate_limiter), NULL },
	{ "rx-ops", PART_OPS,       AT(rx_rate_limiter), NULL },
	{ "tx-bw",  PART_BANDWIDTH, AT(tx_rate_limiter), NULL },
	{ "tx-ops", PART_OPS,       AT(tx_rate_limiter), NULL },
	{ 0 },
};
#undef AT

#define AT(member) offsetof(Hearth__V1__NetworkOverride, member)
static const Part override_parts[] = {
	{ "id",  PART_TEXT, AT(interface_id), NULL },
	{ "ip",  PART_TEXT, AT(ipv4_address), NULL },
	{ "ip6", PART_TEXT, AT(ipv6_address), NULL },
	{ 0 },
};
#undef AT
/* clang-format on */

static int refuse(const Ctl *ctl, const char *option, const char *text, const char *problem)
{
	return failure_report_local(ctl_json(ctl), EXIT_USAGE, "--%s '%s': %s", option, text,
				    problem);
}

static Hearth__V1__Drive *add_drive(Hearth__V1__VmSpec *spec)
{
	Hearth__V1__Drive *drive = message_new(&hearth__v1__drive__descriptor);

	spec->drives = (Hearth__V1__Drive **)must_realloc((void *)spec->drives, spec->n_drives + 1,
							  sizeof(void *));
	spec->drives[spec->n_drives++] = drive;
	return drive;
}

static int apply_drives(const Ctl *ctl, Hearth__V1__VmSpec *spec)
{
	const char *text;
	size_t at = 0;

	while ((text = options_next(&ctl->options, "drive", &at))) {
		Hearth__V1__Drive *drive = add_drive(spec);
		char problem[OPTION_PROBLEM_MAX];

		if (parts_parse(drive, drive_parts, text, problem) < 0)
			return refuse(ctl, "drive", text, problem);
		if (!*drive->path && !*drive->template_id)
			return refuse(ctl, "drive", text,
				      "path=PATH or template=TEMPLATE is missing");
		if (!*drive->drive_id)
			drive->drive_id = text_printf("disk%zu", spec->n_drives - 1);
	}
	return 0;
}

static Hearth__V1__NetworkInterface *add_interface(Hearth__V1__VmSpec *spec)
{
	Hearth__V1__NetworkInterface *interface =
		message_new(&hearth__v1__network_interface__descriptor);

	spec->network_interfaces = (Hearth__V1__NetworkInterface **)must_realloc(
		(void *)spec->network_interfaces, spec->n_network_interfaces + 1, sizeof(void *));
	spec->network_interfaces[spec->n_network_interfaces++] = interface;
	return interface;
}

static int apply_interfaces(const Ctl *ctl, Hearth__V1__VmSpec *spec)
{
	const char *text;
	size_t at = 0;

	while ((text = options_next(&ctl->options, "interface", &at))) {
		Hearth__V1__NetworkInterface *interface = add_interface(spec);
		char problem[OPTION_PROBLEM_MAX];

		if (parts_parse(interface, interface_parts, text, problem) < 0)
			return refuse(ctl, "interface", text, problem);
		if (!*interface->interface_id)
			interface->interface_id =
				text_printf("eth%zu", spec->n_network_interfaces - 1);
	}
	return 0;
}

static Hearth__V1__NetworkOverride *add_override(Hearth__V1__RestoreFrom *from)
{
	Hearth__V1__NetworkOverride *override =
		message_new(&hearth__v1__network_override__descriptor);

	from->network_overrides = (Hearth__V1__NetworkOverride **)must_realloc(
		(void *)from->network_overrides, from->n_network_overrides + 1, sizeof(void *));
	from->network_overrides[from->n_network_overrides++] = override;
	return override;
}

/* What is not the snapshot's of its interfaces. */
static int apply_overrides(const Ctl *ctl, Hearth__V1__RestoreFrom *from)
{
	const char *text;
	size_t at = 0;

	while ((text = options_next(&ctl->options, "interface", &at))) {
		Hearth__V1__NetworkOverride *override = add_override(from);
		char problem[OPTION_PROBLEM_MAX];

		if (parts_parse(override, override_parts, text, problem) < 0)
			return refuse(ctl, "interface", text, problem);
		if (!*override->interface_id)
			override->interface_id =
				text_printf("eth%zu", from->n_network_overrides - 1);
	}
	return 0;
}

static Hearth__V1__Devices *devices_of(Hearth__V1__VmSpec *spec)
{
	if (!spec->devices)
		spec->devices = message_new(&hearth__v1__devices__descriptor);
	return spec->devices;
}

void set_balloon(Hearth__V1__VmSpec *spec, uint64_t mib)
{
	Hearth__V1__Devices *devices = devices_of(spec);

	if (!devices->balloon)
		devices->balloon = message_new(&hearth__v1__balloon__descriptor);
	devices->balloon->amount_mib = mib;
}

void set_mmds(Hearth__V1__VmSpec *spec, const char *content)
{
	Hearth__V1__Devices *devices = devices_of(spec);

	if (!devices->mmds)
		devices->mmds = message_new(&hearth__v1__mmds__descriptor);
	set_text(&devices->mmds->content, content);
}

int read_json_object(const Ctl *ctl, const char *option, char **ret)
{
	const char *path = options_text(&ctl->options, option);
	json_error_t problem;
	cleanup_(json_freep) json_t *json = load_json(path, &problem);

	if (!json)
		return report_json(ctl, path, &problem);
	if (!json_is_object(json))
		return failure_report_local(ctl_json(ctl), EXIT_USAGE, "%s: not a JSON object",
					    path);
	*ret = json_dumps(json, JSON_COMPACT);
	return 0;
}

static void set_vsock(Hearth__V1__VmSpec *spec, uint32_t guest_cid)
{
	Hearth__V1__Devices *devices = devices_of(spec);

	if (!devices->vsock)
		devices->vsock = message_new(&hearth__v1__vsock__descriptor);
	devices->vsock->guest_cid = guest_cid;
}

static int apply_devices(const Ctl *ctl, Hearth__V1__VmSpec *spec)
{
	const Options *given = &ctl->options;
	cleanup_free char *content = NULL;
	int status = 0;

	if (options_has(given, "vsock"))
		set_vsock(spec, (uint32_t)options_number(given, "vsock", 0));
	if (options_has(given, "balloon"))
		set_balloon(spec, options_number(given, "balloon", 0));
	if (options_has(given, "mmds"))
		status = read_json_object(ctl, "mmds", &content);
	if (content)
		set_mmds(spec, content);
	return status;
}

/* "1.5" as 1500: no finer than thousandths, and nothing else a number can look like. */
static bool millis_from_text(uint32_t *ret, const char *text)
{
	size_t whole = strcspn(text, ".");
	const char *fraction = text + whole + (text[whole] == '.');
	size_t digits = strlen(fraction);
	cleanup_free char *number = NULL;
	uint64_t millis;

	if (!whole || digits > 3 || (text[whole] && !digits))
		return false;
	number = text_printf("%.*s%s%.*s", (int)whole, text, fraction, (int)(3 - digits), "000");
	if (text_to_u64(&millis, number) < 0 || millis > UINT32_MAX)
		return false;
	*ret = (uint32_t)millis;
	return true;
}

static int apply_limits(const Ctl *ctl, Hearth__V1__VmSpec *spec)
{
	static const char *const options[] = { "cpu-limit", "memory-limit", "pids-limit" };
	const Options *given = &ctl->options;
	const char *cpus = options_text(given, "cpu-limit");
	Hearth__V1__Limits *limits;

	if (!options_has_any(given, options, array_size(options)))
		return 0;
	if (!spec->limits)
		spec->limits = message_new(&hearth__v1__limits__descriptor);
	limits = spec->limits;
	if (cpus && !millis_from_text(&limits->cpu_millis, cpus))
		return failure_report_local(ctl_json(ctl), EXIT_USAGE,
					    "--cpu-limit: '%s' is not a number of CPUs such as 1.5",
					    cpus);
	limits->memory_mib = options_number(given, "memory-limit", limits->memory_mib);
	limits->pids = (uint32_t)options_number(given, "pids-limit", limits->pids);
	return 0;
}

int request_devices(Ctl *ctl, Hearth__V1__VmSpec *spec)
{
	int status = apply_drives(ctl, spec);

	if (status == 0)
		status = spec->restore_from ? apply_overrides(ctl, spec->restore_from)
					    : apply_interfaces(ctl, spec);
	if (status == 0)
		status = apply_devices(ctl, spec);
	return status ? status : apply_limits(ctl, spec);
}
