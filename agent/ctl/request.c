/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/request.h"

#include "agent/ctl/json.h"
#include "base/clock.h"
#include "base/text.h"

#include <string.h>

/* The union is how C takes const away without a cast that hides worse. */
char *text_field(const char *text)
{
	const union {
		const char *given;
		char *field;
	} both = { .given = text ? text : "" };

	return both.field;
}

char **text_list_field(const char **texts)
{
	const union {
		const char **given;
		char **field;
	} both = { .given = texts };

	return both.field;
}

Google__Protobuf__Duration duration_field(int64_t usec)
{
	Google__Protobuf__Duration duration;

	google__protobuf__duration__init(&duration);
	duration.seconds = usec / USEC_PER_SEC;
	duration.nanos = (int32_t)(usec % USEC_PER_SEC) * 1000;
	return duration;
}

void set_text(char **field, const char *text)
{
	if (*field != (const char *)protobuf_c_empty_string)
		free(*field);
	*field = text_dup(text);
}

static void set_duration(Google__Protobuf__Duration **field, int64_t usec)
{
	if (!*field)
		*field = new0(Google__Protobuf__Duration);
	**field = duration_field(usec);
}

/* Takes the label away if it is there. */
static void remove_label(Hearth__V1__VmSpec *spec, const char *key, size_t length)
{
	for (size_t i = 0; i < spec->n_labels; i++) {
		const char *present = spec->labels[i]->key;

		if (strlen(present) != length || strncmp(present, key, length) != 0)
			continue;
		message_free(spec->labels[i]);
		spec->labels[i] = spec->labels[--spec->n_labels];
		return;
	}
}

static void add_label(Hearth__V1__VmSpec *spec, const char *key, size_t length, const char *value)
{
	Hearth__V1__VmSpec__LabelsEntry *label = new0(Hearth__V1__VmSpec__LabelsEntry);

	remove_label(spec, key, length);
	hearth__v1__vm_spec__labels_entry__init(label);
	label->key = text_printf("%.*s", (int)length, key);
	label->value = text_dup(value);
	spec->labels = (Hearth__V1__VmSpec__LabelsEntry **)must_realloc(
		(void *)spec->labels, spec->n_labels + 1, sizeof(void *));
	spec->labels[spec->n_labels++] = label;
}

/* "KEY=VALUE" adds or replaces, "KEY-" takes away. */
static int apply_labels(Ctl *ctl, Hearth__V1__VmSpec *spec)
{
	const char *text;
	size_t at = 0;

	while ((text = options_next(&ctl->options, "label", &at))) {
		size_t key = strcspn(text, "=");
		size_t length = strlen(text);

		if (text[key] && key)
			add_label(spec, text, key, text + key + 1);
		else if (!text[key] && length > 1 && text[length - 1] == '-')
			remove_label(spec, text, length - 1);
		else
			return failure_report_local(ctl_json(ctl), EXIT_USAGE,
						    "--label: '%s' is not KEY=VALUE", text);
	}
	return 0;
}

static bool apply_restart(const Ctl *ctl, Hearth__V1__VmSpec *spec)
{
	const Options *given = &ctl->options;
	Hearth__V1__RestartPolicy *policy = spec->restart_policy;

	if (!options_has(given, "restart") && !options_has(given, "max-restarts") &&
	    !options_has(given, "initial-backoff") && !options_has(given, "max-backoff"))
		return false;
	if (!policy) {
		policy = new0(Hearth__V1__RestartPolicy);
		hearth__v1__restart_policy__init(policy);
		spec->restart_policy = policy;
	}
	policy->mode = (Hearth__V1__RestartMode)options_enum(given, "restart", (int)policy->mode);
	policy->max_restarts =
		(uint32_t)options_number(given, "max-restarts", policy->max_restarts);
	if (options_has(given, "initial-backoff"))
		set_duration(&policy->initial_backoff,
			     options_duration(given, "initial-backoff", 0));
	if (options_has(given, "max-backoff"))
		set_duration(&policy->max_backoff, options_duration(given, "max-backoff", 0));
	return true;
}

static int apply_expiry(Ctl *ctl, Hearth__V1__VmSpec *spec)
{
	const Options *given = &ctl->options;
	const char *text = options_text(given, "expires-at");
	Google__Protobuf__Timestamp *time = spec->expires_at;

	if (!text && !options_has(given, "expires-in"))
		return 0;
	if (!time) {
		time = new0(Google__Protobuf__Timestamp);
		google__protobuf__timestamp__init(time);
		spec->expires_at = time;
	}
	if (!text) {
		int64_t at = clock_wall_us() + options_duration(given, "expires-in", 0);

		time->seconds = at / USEC_PER_SEC;
		time->nanos = (int32_t)(at % USEC_PER_SEC) * 1000;
	} else if (timestamp_from_text(&time->seconds, &time->nanos, text) < 0) {
		return failure_report_local(ctl_json(ctl), EXIT_USAGE,
					    "--expires-at: '%s' is not a time such as "
					    "2026-12-31T18:00:00Z",
					    text);
	}
	return 0;
}

int request_policy(Ctl *ctl, Hearth__V1__VmSpec *spec, char *paths[static UPDATE_PATHS],
		   size_t *n_paths)
{
	const Options *given = &ctl->options;
	size_t n = 0;
	int status = apply_labels(ctl, spec);

	if (status == 0)
		status = apply_expiry(ctl, spec);
	if (status)
		return status;
	if (apply_restart(ctl, spec))
		paths[n++] = text_field("restart_policy");
	if (options_has(given, "label"))
		paths[n++] = text_field("labels");
	if (options_has(given, "expires-at") || options_has(given, "expires-in"))
		paths[n++] = text_field("expires_at");
	if (options_has(given, "expire-action")) {
		spec->expire_action =
			(Hearth__V1__ExpireAction)options_enum(given, "expire-action", 0);
		paths[n++] = text_field("expire_action");
	}
	*n_paths = n;
	return 0;
}

static void apply_boot(const Options *given, Hearth__V1__VmSpec *spec)
{
	if (!options_has(given, "kernel") && !options_has(given, "initrd") &&
	    !options_has(given, "args"))
		return;
	if (!spec->boot) {
		spec->boot = new0(Hearth__V1__Boot);
		hearth__v1__boot__init(spec->boot);
	}
	if (options_has(given, "kernel"))
		set_text(&spec->boot->kernel_path, options_text(given, "kernel"));
	if (options_has(given, "initrd"))
		set_text(&spec->boot->initrd_path, options_text(given, "initrd"));
	if (options_has(given, "args"))
		set_text(&spec->boot->boot_args, options_text(given, "args"));
}

static void apply_machine(const Options *given, Hearth__V1__VmSpec *spec)
{
	if (!options_has(given, "vcpus") && !options_has(given, "memory"))
		return;
	if (!spec->machine) {
		spec->machine = new0(Hearth__V1__Machine);
		hearth__v1__machine__init(spec->machine);
	}
	spec->machine->vcpus = (uint32_t)options_number(given, "vcpus", spec->machine->vcpus);
	spec->machine->memory_mib = options_number(given, "memory", spec->machine->memory_mib);
}

/* "id=NAME,path=PATH[,root][,ro]" into @drive; false if it is not that. */
static bool parse_drive(Hearth__V1__Drive *drive, const char *text)
{
	while (*text) {
		size_t length = strcspn(text, ",");
		cleanup_free char *part = text_printf("%.*s", (int)length, text);

		if (strncmp(part, "id=", 3) == 0)
			set_text(&drive->drive_id, part + 3);
		else if (strncmp(part, "path=", 5) == 0)
			set_text(&drive->path, part + 5);
		else if (strcmp(part, "root") == 0)
			drive->is_root = true;
		else if (strcmp(part, "ro") == 0)
			drive->read_only = true;
		else if (strcmp(part, "rw") == 0)
			drive->read_only = false;
		else
			return false;
		text += length + (text[length] == ',');
	}
	return *drive->path;
}

static int apply_drives(Ctl *ctl, Hearth__V1__VmSpec *spec)
{
	const char *text;
	size_t at = 0;

	while ((text = options_next(&ctl->options, "drive", &at))) {
		Hearth__V1__Drive *drive = new0(Hearth__V1__Drive);

		hearth__v1__drive__init(drive);
		spec->drives = (Hearth__V1__Drive **)must_realloc(
			(void *)spec->drives, spec->n_drives + 1, sizeof(void *));
		spec->drives[spec->n_drives++] = drive;
		if (!parse_drive(drive, text))
			return failure_report_local(ctl_json(ctl), EXIT_USAGE,
						    "--drive: '%s' is not "
						    "id=NAME,path=PATH[,root][,ro]",
						    text);
		if (!*drive->drive_id)
			drive->drive_id = text_printf("disk%zu", spec->n_drives - 1);
	}
	return 0;
}

int request_spec(Ctl *ctl, Hearth__V1__VmSpec *spec)
{
	const Options *given = &ctl->options;
	char *paths[UPDATE_PATHS];
	size_t n_paths;
	int status;

	/* Beyond what the field holds the agent could not say it is too much. */
	if (options_number(given, "vcpus", 0) > UINT32_MAX ||
	    options_number(given, "max-restarts", 0) > UINT32_MAX)
		return failure_report_local(ctl_json(ctl), EXIT_USAGE,
					    "--vcpus and --max-restarts end at %u", UINT32_MAX);
	spec->backend = (Hearth__V1__Backend)options_enum(given, "backend", (int)spec->backend);
	if (options_has(given, "start"))
		spec->desired_state = HEARTH__V1__DESIRED_STATE__DESIRED_STATE_RUNNING;
	apply_boot(given, spec);
	apply_machine(given, spec);
	status = apply_drives(ctl, spec);
	return status ? status : request_policy(ctl, spec, paths, &n_paths);
}
