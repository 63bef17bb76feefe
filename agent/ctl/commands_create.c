/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/ctl.h"
#include "agent/ctl/format.h"
#include "agent/ctl/json.h"
#include "agent/ctl/progress.h"
#include "agent/ctl/request.h"
#include "agent/ctl/vm_view.h"
#include "google/protobuf/field_mask.pb-c.h"

#include <string.h>

/* create and update. */

enum {
	UPDATE_TRIES = 5
};

/* Members are checked by json_to_message(). */
json_t *load_json(const char *path, json_error_t *error)
{
	const size_t flags = JSON_REJECT_DUPLICATES;

	if (strcmp(path, "-") == 0)
		return json_loadf(stdin, flags, error);
	return json_load_file(path, flags, error);
}

int report_json(const Ctl *ctl, const char *path, const json_error_t *problem)
{
	if (problem->line < 0)
		return failure_report_local(ctl_json(ctl), EXIT_LOCAL, "%s", problem->text);
	return failure_report_local(ctl_json(ctl), EXIT_USAGE, "%s:%d:%d: %s", path, problem->line,
				    problem->column, problem->text);
}

static int report_violations(const Ctl *ctl, const char *path, const Error *err)
{
	const char *field, *description;
	uint32_t at = 0;

	if (ctl_json(ctl))
		return failure_report_local(true, EXIT_USAGE, "%s: %s", path, err->what);
	(void)failure_report_local(false, EXIT_USAGE, "%s does not describe a VM", path);
	while (error_next_violation(err, &at, &field, &description))
		print_clean(stderr, "  %s: %s\n", field, description);
	return EXIT_USAGE;
}

int read_spec(const Ctl *ctl, const char *path, Hearth__V1__VmSpec **ret)
{
	json_error_t problem;
	cleanup_(json_freep) json_t *json = load_json(path, &problem);
	ProtobufCMessage *message = NULL;
	Error err = { 0 };

	if (!json)
		return report_json(ctl, path, &problem);
	if (json_to_message(&message, &hearth__v1__vm_spec__descriptor, json, &err) < 0)
		return report_violations(ctl, path, &err);
	*ret = (Hearth__V1__VmSpec *)(void *)message;
	return 0;
}

static int send_create(Ctl *ctl, const Hearth__V1__CreateVmRequest *request)
{
	cleanup_(failure_release) Failure failure = { 0 };
	cleanup_(message_freep) Hearth__V1__Vm *vm = NULL;
	Progress progress;
	char state[40];
	int result;

	progress_begin(&progress, ctl, request->vm_id, "create");
	result = client_call(ctl_client(ctl), vm_method("CreateVm"), &request->base,
			     ctl_start_timeout(ctl), &vm, &failure);
	progress_end(&progress);
	if (result < 0)
		return failure_report(&failure, ctl_json(ctl));
	if (ctl->format == OUTPUT_TABLE)
		print_clean(stdout, "%s %s%s\n", vm->vm_id, vm_state_text(vm, state),
			    request->validate_only ? " (checked only)" : "");
	else
		vm_print(ctl, vm);
	return 0;
}

int run_create(Ctl *ctl)
{
	const Options *given = &ctl->options;
	Hearth__V1__CreateVmRequest request;
	cleanup_(message_freep) Hearth__V1__VmSpec *spec = NULL;
	int status = 0;

	hearth__v1__create_vm_request__init(&request);
	if (options_has(given, "file")) {
		status = read_spec(ctl, options_text(given, "file"), &spec);
	} else {
		spec = new0(Hearth__V1__VmSpec);
		hearth__v1__vm_spec__init(spec);
	}
	if (status == 0)
		status = request_spec(ctl, spec);
	if (status)
		return status;
	request.vm_id = text_field(given->arguments[0]);
	request.uid = text_field(options_text(given, "uid"));
	request.tenant = text_field(options_text(given, "tenant"));
	request.spec = spec;
	request.validate_only = options_has(given, "validate-only");
	request.return_when = (Hearth__V1__ReturnWhen)options_enum(given, "return", 0);
	return send_create(ctl, &request);
}

/* Changes in @spec, the VM's, what the options say. Return: as request_spec(). */
static int change_spec(Ctl *ctl, const UpdateInput *input, Hearth__V1__VmSpec *spec,
		       char *paths[static UPDATE_PATHS], size_t *n_paths)
{
	int status = request_policy(ctl, spec, paths, n_paths);

	if (status == 0)
		status = request_live(ctl, input, spec, paths, n_paths);
	if (status || !options_has(&ctl->options, "no-expiry"))
		return status;
	message_free(take_ptr(spec->expires_at));
	spec->expire_action = HEARTH__V1__EXPIRE_ACTION__EXPIRE_ACTION_UNSPECIFIED;
	paths[(*n_paths)++] = text_field("expires_at");
	return 0;
}

/*
 * Reads the VM, changes what the options say and writes it back, provided its
 * spec is still the one read. Return: as client_call(), or 1 with *@status for
 * what has been reported.
 */
static int update_once(Ctl *ctl, const UpdateInput *input, Hearth__V1__Vm **ret, int *status,
		       Failure *failure)
{
	const Options *given = &ctl->options;
	Hearth__V1__GetVmRequest get;
	Hearth__V1__UpdateVmRequest request;
	Google__Protobuf__FieldMask mask;
	cleanup_(message_freep) Hearth__V1__Vm *vm = NULL;
	char *paths[UPDATE_PATHS];
	int64_t timeout = ctl_timeout(ctl, TIMEOUT_UNARY);

	hearth__v1__get_vm_request__init(&get);
	hearth__v1__update_vm_request__init(&request);
	google__protobuf__field_mask__init(&mask);
	get.vm_id = text_field(given->arguments[0]);
	get.expected_uid = text_field(options_text(given, "expected-uid"));
	if (client_call(ctl_client(ctl), vm_method("GetVm"), &get.base, timeout, &vm, failure) < 0)
		return -1;
	if (!vm->spec) {
		vm->spec = new0(Hearth__V1__VmSpec);
		hearth__v1__vm_spec__init(vm->spec);
	}
	*status = input->spec ? 0 : change_spec(ctl, input, vm->spec, paths, &mask.n_paths);
	if (*status)
		return 1;
	mask.paths = paths;
	request.spec = vm->spec;
	if (input->spec) {
		memcpy(paths, input->paths, sizeof paths);
		mask.n_paths = input->n_paths;
		request.spec = input->spec;
	}
	request.vm_id = get.vm_id;
	request.expected_uid = vm->uid;
	request.expected_revision = options_number(given, "expected-revision", 0);
	request.expected_generation = options_number(given, "expected-generation", vm->generation);
	request.validate_only = options_has(given, "validate-only");
	request.update_mask = &mask;
	return client_call(ctl_client(ctl), vm_method("UpdateVm"), &request.base, timeout, ret,
			   failure);
}

/* Has the caller said which state of the VM is meant? Then a conflict is the answer. */
static bool is_guarded(const Options *given)
{
	return options_has(given, "expected-revision") || options_has(given, "expected-generation");
}

/* One try, its success shown; as update_once(). */
static int update_and_show(Ctl *ctl, const UpdateInput *input, int *status, Failure *failure)
{
	cleanup_(message_freep) Hearth__V1__Vm *vm = NULL;
	int result = update_once(ctl, input, &vm, status, failure);

	if (result)
		return result;
	if (ctl->format == OUTPUT_TABLE)
		print_clean(stdout, "%s updated%s\n", vm->vm_id,
			    options_has(&ctl->options, "validate-only") ? " (checked only)" : "");
	else
		vm_print(ctl, vm);
	return 0;
}

int run_update(Ctl *ctl)
{
	cleanup_(update_input_release) UpdateInput input = { 0 };
	int status = update_input_read(ctl, &input);

	for (int tries = 1; status == 0; tries++) {
		cleanup_(failure_release) Failure failure = { 0 };

		if (update_and_show(ctl, &input, &status, &failure) >= 0)
			return status;
		if (!failure_is(&failure, "CONFLICT") || is_guarded(&ctl->options) ||
		    tries == UPDATE_TRIES)
			return failure_report(&failure, ctl_json(ctl));
	}
	return status;
}
