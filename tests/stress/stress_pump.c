/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Duplex calls that fail, as nobody is there, or are given up at any moment:
 * no batch's end is missed, and none comes when its stream is gone.
 */

#include "agent/ctl/client.h"
#include "base/cleanup.h"
#include "hearth/v1/guest.pb-c.h"

#include <assert.h>
#include <stdio.h>

enum {
	CALLS = 2000
};

static const Method method = { &hearth__v1__guest_service__descriptor, "Exec" };

/* To its end, with requests as fast as they go: how many were sent. */
static unsigned follow(ClientStream *stream, const ProtobufCMessage *request)
{
	cleanup_(failure_release) Failure failure = { 0 };
	ProtobufCMessage *message = NULL;
	struct pollfd fd;
	unsigned sent = 0;
	int got;

	while (!client_stream_arrived(stream)) {
		if (client_stream_sent(stream)) {
			client_stream_send(stream, request);
			sent++;
		}
		client_stream_poll(stream, &fd, 1);
	}
	got = client_stream_next(stream, &message, &failure);
	assert(got < 0 && failure.code);
	return sent;
}

int main(void)
{
	const ClientTls tls = { .ca = NULL };
	cleanup_(client_freep) Client *client = client_new("unix:/nobody/is/there", &tls);
	Hearth__V1__ExecRequest request;
	unsigned long sent = 0;

	hearth__v1__exec_request__init(&request);
	for (unsigned i = 0; i < CALLS; i++) {
		cleanup_(client_stream_freep) ClientStream *stream =
			client_duplex(client, method, &request.base, CLIENT_FOREVER);
		struct pollfd fd;

		assert(stream);
		if (i % 3 == 0)
			sent += follow(stream, &request.base);
		else if (i % 3 == 1)
			client_stream_poll(stream, &fd, 1);
	}
	(void)printf("%d calls, %lu further requests\n", CALLS, sent);
	return 0;
}
