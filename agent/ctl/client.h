/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Calls to hearthd on the gRPC C core: one channel, one completion queue, one
 * thread. A method is named by its service's descriptor and its name.
 *
 * While a call waits, client_set_tick()'s function runs every now and then,
 * and may make calls of its own (in which nothing ticks). SIGINT and SIGTERM
 * cancel what is being waited for; the agent carries on with what it accepted.
 *
 * A duplex call, in which requests are streamed too, is waited for together
 * with descriptors: it has a queue of its own in a Pump, nothing ticks in it,
 * and signals are its caller's.
 */

#include "agent/ctl/failure.h"

#include <poll.h>
#include <protobuf-c/protobuf-c.h>
#include <stdint.h>

typedef struct Client Client;
typedef struct ClientStream ClientStream;

typedef struct Method {
	const ProtobufCServiceDescriptor *service;
	const char *name;
} Method;

#define CLIENT_FOREVER (-1)

/* In PEM; ca NULL: no TLS; certificate and key both NULL: this client has none. */
typedef struct ClientTls {
	char *ca, *certificate, *key;
	char *server_name; /* that is to be in hearthd's certificate; NULL: as in the address */
} ClientTls;

/* @address as hearthd's --listen has it: "unix:/path", "host:port". Connects with the first call.
 */
Client *client_new(const char *address, const ClientTls *tls);
void client_free(Client *client);
DEFINE_CLEANUP(Client *, client_free);

typedef void ClientTick(void *user);
/* NULL: none. */
void client_set_tick(Client *client, ClientTick *tick, void *user);

/* Has the user asked to stop? */
bool client_interrupted(void);

/**
 * client_call() - one unary call
 * @ret:	the address of a pointer to the answer's type, which is the caller's to free
 * @timeout:	usec, or CLIENT_FOREVER
 *
 * Return: 0, or -1 with *@failure filled.
 */
int client_call(Client *client, Method method, const ProtobufCMessage *request, int64_t timeout,
		void *ret, Failure *failure) must_check;

/* Starts a call; never fails: the first client_stream_next() may. @request is needed no more. */
ClientStream *client_stream(Client *client, Method method, const ProtobufCMessage *request,
			    int64_t timeout);
/* Ends the call if it has not ended. */
void client_stream_free(ClientStream *stream);
DEFINE_CLEANUP(ClientStream *, client_stream_free);

/**
 * client_stream_next() - the next message
 * @ret:	as client_call()
 *
 * Return: 1 with a message; 0 at the end; -1 with *@failure filled.
 */
int client_stream_next(ClientStream *stream, void *ret, Failure *failure) must_check;

/* The only message of a unary call that client_stream() began; as client_call(). */
int client_answer(ClientStream *stream, void *ret, Failure *failure) must_check;

/**
 * client_duplex() - start a call in which both sides stream
 * @request:	the first
 *
 * Its messages are client_stream_next()'s. Of what is below nothing waits but client_stream_poll().
 *
 * Return: the stream; NULL with errno set if this process cannot have it.
 */
ClientStream *client_duplex(Client *client, Method method, const ProtobufCMessage *request,
			    int64_t timeout);
/* Has gRPC passed on the last request? Only then may the next be sent: so one at most is held. */
bool client_stream_sent(const ClientStream *stream);
void client_stream_send(ClientStream *stream, const ProtobufCMessage *request);
/* Would client_stream_next() return at once? */
bool client_stream_arrived(ClientStream *stream);
/* Waits until either of those may have become true, or as poll() does; fds[0] is not the caller's.
 */
void client_stream_poll(ClientStream *stream, struct pollfd *fds, size_t count);
