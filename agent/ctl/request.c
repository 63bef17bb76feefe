/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/request.h"

#include "agent/ctl/json.h"
#include "agent/ctl/message.h"
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

/* Its key or value. */
static char **entry_text(ProtobufCMessage *entry, unsigned i)
{
	return (char **)(void *)((char *)entry + entry->descriptor->fields[i].offset);
}

/* Which of @count entries has this key; @count: none. */
static size_t find_entry(ProtobufCMessage *const *entries, size_t count, const char *key,
			 size_t length)
{
	for (size_t i = 0; i < count; i++) {
		const char *present = *entry_text(entries[i], 0);

		if (strlen(present) == length && strncmp(present, key, length) == 0)
			return i;
	}
	return count;
}

bool set_variable(void *field, size_t *count, const ProtobufCMessageDescriptor *type,
		  const char *text)
{
	size_t length = strcspn(text, "=");
	ProtobufCMessage **entries;
	size_t i;

	if (!length || !text[length])
		return false;
	memcpy((void *)&entries, field, sizeof(void *));
	i = find_entry(entries, *count, text, length);
	if (i == *count) {
		entries = (ProtobufCMessage **)must_realloc((void *)entries, ++*count,
							    sizeof(void *));
		entries[i] = message_new(type);
		*entry_text(entries[i], 0) = text_printf("%.*s", (int)length, text);
		memcpy(field, (const void *)&entries, sizeof(void *));
	}
	set_text(entry_text(entries[i], 1), text + length + 1);
	return true;
}

static void set_duration(Google__Protobuf__Duration **field, int64_t usec)
{
	if (!*field)
		*field = new0(Google__Protobuf__Duration);
	**field = duration_field(usec);
}

/* Beyond what a field of 32 bits holds the agent could not say that it is too much. */
static int check_sizes(const Ctl *ctl, const char *const *options, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (options_number(&ctl->options, options[i], 0) > UINT32_MAX)
			return failure_report_local(ctl_json(ctl), EXIT_USAGE, "--%s ends at %u",
						    options[i], UINT32_MAX);
	return 0;
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
	static const char *const sizes[] = { "max-restarts" };
	const Options *given = &ctl->options;
	size_t n = 0;
	int status = check_sizes(ctl, sizes, array_size(sizes));

	if (status == 0)
		status = apply_labels(ctl, spec);
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
	if (!spec->boot)
		spec->boot = message_new(&hearth__v1__boot__descriptor);
	if (options_has(given, "kernel"))
		set_text(&spec->boot->kernel_path, options_text(given, "kernel"));
	if (options_has(given, "initrd"))
		set_text(&spec->boot->initrd_path, options_text(given, "initrd"));
	if (options_has(given, "args"))
		set_text(&spec->boot->boot_args, options_text(given, "args"));
}

/* Besides those that a file has named. */
static void apply_guest(const Options *given, Hearth__V1__VmSpec *spec)
{
	const char *name;
	size_t at = 0;

	spec->guest_agent =
		(Hearth__V1__GuestAgent)options_enum(given, "guest-agent", (int)spec->guest_agent);
	while ((name = options_next(given, "secret", &at))) {
		spec->secrets =
			(char **)must_realloc(spec->secrets, spec->n_secrets + 1, sizeof(char *));
		spec->secrets[spec->n_secrets++] = text_dup(name);
	}
}

static int apply_machine(Ctl *ctl, Hearth__V1__VmSpec *spec)
{
	static const char *const options[] = {
		"vcpus",      "memory",           "smt", "huge-pages", "cpu-template",
		"cpu-config", "track-dirty-pages"
	};
	const Options *given = &ctl->options;
	cleanup_free char *config = NULL;
	Hearth__V1__Machine *machine;
	int status = 0;

	if (!options_has_any(given, options, array_size(options)))
		return 0;
	if (!spec->machine)
		spec->machine = message_new(&hearth__v1__machine__descriptor);
	machine = spec->machine;
	machine->vcpus = (uint32_t)options_number(given, "vcpus", machine->vcpus);
	machine->memory_mib = options_number(given, "memory", machine->memory_mib);
	machine->smt = machine->smt || options_has(given, "smt");
	machine->track_dirty_pages =
		machine->track_dirty_pages || options_has(given, "track-dirty-pages");
	machine->huge_pages =
		(Hearth__V1__HugePages)options_enum(given, "huge-pages", (int)machine->huge_pages);
	machine->cpu_template = (Hearth__V1__CpuTemplate)options_enum(given, "cpu-template",
								      (int)machine->cpu_template);
	if (options_has(given, "cpu-config"))
		status = read_json_object(ctl, "cpu-config", &config);
	if (config)
		set_text(&machine->cpu_config, config);
	return status;
}

/* "VM/SNAPSHOT". */
static int apply_restore(const Ctl *ctl, Hearth__V1__VmSpec *spec)
{
	const char *text = options_text(&ctl->options, "restore");
	const char *slash = text ? strchr(text, '/') : NULL;
	cleanup_free char *vm_id = NULL;

	if (!text && options_has(&ctl->options, "shared-identity"))
		return failure_report_local(ctl_json(ctl), EXIT_USAGE,
					    "--shared-identity: needs --restore");
	if (!text)
		return 0;
	if (!slash)
		return failure_report_local(ctl_json(ctl), EXIT_USAGE,
					    "--restore: '%s' is not VM/SNAPSHOT", text);
	if (!spec->restore_from)
		spec->restore_from = message_new(&hearth__v1__restore_from__descriptor);
	vm_id = text_printf("%.*s", (int)(slash - text), text);
	set_text(&spec->restore_from->vm_id, vm_id);
	set_text(&spec->restore_from->snapshot_id, slash + 1);
	spec->restore_from->allow_shared_identity = options_has(&ctl->options, "shared-identity");
	spec->restore_from->memory_backend = (Hearth__V1__MemoryBackend)options_enum(
		&ctl->options, "memory-backend", (int)spec->restore_from->memory_backend);
	return 0;
}

int request_spec(Ctl *ctl, Hearth__V1__VmSpec *spec)
{
	static const char *const sizes[] = { "vcpus", "vsock", "pids-limit" };
	const Options *given = &ctl->options;
	char *paths[UPDATE_PATHS];
	size_t n_paths;
	int status = check_sizes(ctl, sizes, array_size(sizes));

	if (status)
		return status;
	spec->backend = (Hearth__V1__Backend)options_enum(given, "backend", (int)spec->backend);
	if (options_has(given, "start"))
		spec->desired_state = HEARTH__V1__DESIRED_STATE__DESIRED_STATE_RUNNING;
	apply_boot(given, spec);
	apply_guest(given, spec);
	status = apply_restore(ctl, spec);
	if (status == 0)
		status = apply_machine(ctl, spec);
	if (status == 0)
		status = request_devices(ctl, spec);
	if (status == 0)
		status = request_egress(ctl, "egress-file", &spec->egress);
	return status ? status : request_policy(ctl, spec, paths, &n_paths);
}
