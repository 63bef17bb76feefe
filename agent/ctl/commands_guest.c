/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/ctl.h"
#include "agent/ctl/json.h"
#include "agent/ctl/request.h"

#include <inttypes.h>

/* ping: what hearth-guest is asked. */

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
