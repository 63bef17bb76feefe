/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/json.h"
#include "agent/ctl/request.h"
#include "base/text.h"

#include <string.h>

/* What update's options say of devices and drives, and what it reads from files. */

static bool names_part(const Options *given)
{
	static const char *const parts[] = {
		"label",       "restart",    "max-restarts", "initial-backoff",
		"max-backoff", "expires-in", "expires-at",   "expire-action",
		"no-expiry",   "balloon",    "mmds",         "drive",
	};

	return options_has_any(given, parts, array_size(parts));
}

static int report(const Ctl *ctl, const char *problem)
{
	return failure_report_local(ctl_json(ctl), EXIT_USAGE, "update: %s", problem);
}

static int check_options(const Ctl *ctl)
{
	const Options *given = &ctl->options;
	bool file = options_has(given, "file");

	if (file != options_has(given, "mask"))
		return report(ctl, "--file and --mask go together");
	if (file && names_part(given))
		return report(ctl, "--file goes without other changes");
	if (!file && !names_part(given))
		return report(ctl, "nothing to change; see 'hearthctl help update'");
	return 0;
}

static int cut_mask(const Ctl *ctl, UpdateInput *input)
{
	char *rest = input->mask = text_dup(options_text(&ctl->options, "mask"));

	for (char *path; (path = strsep(&rest, ","));) {
		if (input->n_paths == UPDATE_PATHS)
			return report(ctl, "--mask has too many names");
		input->paths[input->n_paths++] = path;
	}
	return 0;
}

int update_input_read(const Ctl *ctl, UpdateInput *ret)
{
	const Options *given = &ctl->options;
	int status = check_options(ctl);

	if (status == 0 && options_has(given, "file"))
		status = read_spec(ctl, options_text(given, "file"), &ret->spec);
	if (status == 0 && options_has(given, "mmds"))
		status = read_json_object(ctl, "mmds", &ret->mmds);
	return status ? status : cut_mask(ctl, ret);
}

void update_input_release(UpdateInput *input)
{
	message_free(input->spec);
	free(input->mmds);
	free(input->mask);
}

static Hearth__V1__Drive *find_drive(const Hearth__V1__VmSpec *spec, const char *id)
{
	for (size_t i = 0; i < spec->n_drives; i++)
		if (strcmp(spec->drives[i]->drive_id, id) == 0)
			return spec->drives[i];
	return NULL;
}

/* "id=NAME,path=PATH": a path may have commas. */
static int swap_disk(const Ctl *ctl, Hearth__V1__VmSpec *spec, const char *text)
{
	static const char id_word[] = "id=", path_word[] = ",path=";
	const char *path = strstr(text, path_word);
	cleanup_free char *id = NULL;
	Hearth__V1__Drive *drive;

	if (strncmp(text, id_word, sizeof id_word - 1) != 0 || !path)
		return failure_report_local(ctl_json(ctl), EXIT_USAGE,
					    "--drive: '%s' is not id=NAME,path=PATH", text);
	text += sizeof id_word - 1;
	id = text_printf("%.*s", (int)(path - text), text);
	drive = find_drive(spec, id);
	if (!drive)
		return failure_report_local(ctl_json(ctl), EXIT_USAGE,
					    "--drive: the VM has no drive '%s'", id);
	set_text(&drive->path, path + sizeof path_word - 1);
	return 0;
}

int request_live(const Ctl *ctl, const UpdateInput *input, Hearth__V1__VmSpec *spec,
		 char *paths[static UPDATE_PATHS], size_t *n_paths)
{
	const Options *given = &ctl->options;
	const char *text;
	size_t at = 0;

	if (options_has(given, "balloon")) {
		set_balloon(spec, options_number(given, "balloon", 0));
		paths[(*n_paths)++] = text_field("devices.balloon");
	}
	if (input->mmds) {
		set_mmds(spec, input->mmds);
		paths[(*n_paths)++] = text_field("devices.mmds");
	}
	if (options_has(given, "drive"))
		paths[(*n_paths)++] = text_field("drives");
	while ((text = options_next(given, "drive", &at))) {
		int status = swap_disk(ctl, spec, text);

		if (status)
			return status;
	}
	return 0;
}
