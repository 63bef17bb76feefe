/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Messages of whatever type, made and released alike. */

#include "base/cleanup.h"

#include <protobuf-c/protobuf-c.h>
#include <string.h>

/* An empty message, as protobuf-c would unpack it; the caller's. */
static inline void *message_new(const ProtobufCMessageDescriptor *type)
{
	void *message = must_calloc(1, type->sizeof_message);

	type->message_init(message);
	return message;
}

/* @message: as protobuf-c unpacks it; not NULL. */
static inline void message_free(void *message)
{
	protobuf_c_message_free_unpacked(message, NULL);
}

/* For cleanup_(): @p is the address of a pointer to a message, which may be NULL. */
static inline void message_freep(void *p)
{
	void *message;

	memcpy(&message, p, sizeof message);
	if (message)
		message_free(message);
}
