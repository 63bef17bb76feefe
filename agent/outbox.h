/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Packed messages on their way to one client, oldest first. The call's lock
 * guards it.
 */

#include <grpc/byte_buffer.h>
#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

typedef struct OutboxItem OutboxItem;

typedef struct Outbox {
	OutboxItem *first, *last;
	size_t bytes; /* with what an item costs beside its message */
} Outbox;

/* Packs @message; the caller's, to be passed to outbox_push() or outbox_item_free(). */
OutboxItem *outbox_item_new(const ProtobufCMessage *message);
void outbox_item_free(OutboxItem *item);

void outbox_push(Outbox *outbox, OutboxItem *item);
/* The oldest, or NULL; the caller's. */
OutboxItem *outbox_pop(Outbox *outbox);
/* Takes everything out: a chain for outbox_items_free(), which may run without the lock. */
OutboxItem *outbox_take(Outbox *outbox);
void outbox_items_free(OutboxItem *chain);

grpc_byte_buffer *outbox_item_bytes(const OutboxItem *item);
