/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/ctl.h"
#include "agent/ctl/format.h"
#include "agent/ctl/json.h"
#include "agent/ctl/request.h"
#include "base/clock.h"

#include <inttypes.h>
#include <string.h>

/* ping, exec: what hearth-guest does in the guest. */

enum {
	EXIT_SIGNAL = 128, /* and its number, as shells have it */
	RUN_SEC = 60,      /* by default */
	INPUT_MAX = 768 * 1024,
};

int run_ping(Ctl *ctl)
{
	cleanup_(message_freep) Hearth__V1__PingResponse *answer = NULL;
	Hearth__V1__PingRequest request;
	int status;

	hearth__v1__ping_request__init(&request);
	request.vm_id = text_field(ctl->options.arguments[0]);
	request.expected_uid = text_field(options_text(&ctl->options, "expected-uid"));
	status = ctl_call(ctl, guest_method("Ping"), &request.base, &answer);
	if (status == 0 && ctl_json(ctl))
		json_print_message(&answer->base, true);
	else if (status == 0)
		printf("%s answered after %.1f ms, up %" PRId64 " s\n", request.vm_id,
		       (double)answer->round_trip->nanos / 1e6 +
			       (double)answer->round_trip->seconds * 1e3,
		       answer->uptime->seconds);
	return status;
}

static int exit_of(const Hearth__V1__RunResponse *answer)
{
	if (answer->timed_out)
		(void)fputs("hearthctl: exec: killed, as its time was up\n", stderr);
	if (answer->truncated)
		(void)fputs("hearthctl: exec: it wrote more, which is left out\n", stderr);
	return answer->signal ? EXIT_SIGNAL + answer->signal : answer->exit_code;
}

/* All of standard input, up to the most that may be; to free. */
static uint8_t *read_input(size_t *count)
{
	uint8_t *bytes = must_calloc(INPUT_MAX + 1, 1);

	*count = fread(bytes, 1, INPUT_MAX + 1, stdin);
	return bytes;
}

int run_exec(Ctl *ctl)
{
	const Options *given = &ctl->options;
	cleanup_(message_freep) Hearth__V1__RunResponse *answer = NULL;
	cleanup_free uint8_t *input = NULL;
	cleanup_free char **words = new0_array(char *, given->n_arguments);
	int64_t limit = options_duration(given, "limit", (int64_t)RUN_SEC * USEC_PER_SEC);
	Google__Protobuf__Duration timeout = duration_field(limit);
	Hearth__V1__RunRequest request;
	int status;

	hearth__v1__run_request__init(&request);
	request.vm_id = text_field(given->arguments[0]);
	request.expected_uid = text_field(options_text(given, "expected-uid"));
	request.n_command = given->n_arguments - 1;
	for (size_t i = 0; i < request.n_command; i++)
		words[i] = text_field(given->arguments[i + 1]);
	request.command = words;
	request.working_dir = text_field(options_text(given, "dir"));
	request.user = text_field(options_text(given, "user"));
	request.timeout = &timeout;
	if (options_has(given, "stdin")) {
		input = read_input(&request.input.len);
		request.input.data = input;
	}
	status = ctl_call_long(ctl, guest_method("Run"), &request.base, &answer);
	if (status)
		return status;
	if (ctl_json(ctl)) {
		json_print_message(&answer->base, true);
		return exit_of(answer);
	}
	(void)fwrite(answer->output.data, 1, answer->output.len, stdout);
	(void)fflush(stdout);
	(void)fwrite(answer->error_output.data, 1, answer->error_output.len, stderr);
	return exit_of(answer);
}
