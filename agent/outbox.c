/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/outbox.h"

#include "base/cleanup.h"

#include <grpc/slice.h>

struct OutboxItem {
	OutboxItem *next;
	grpc_byte_buffer *bytes;
	size_t size;
};

enum {
	ITEM_COST = 256 /* about what the allocations of one message take */
};

OutboxItem *outbox_item_new(const ProtobufCMessage *message)
{
	OutboxItem *item = new0(OutboxItem);
	grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));

	(void)protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
	item->bytes = grpc_raw_byte_buffer_create(&slice, 1);
	item->size = GRPC_SLICE_LENGTH(slice) + ITEM_COST;
	grpc_slice_unref(slice);
	return item;
}

void outbox_item_free(OutboxItem *item)
{
	if (!item)
		return;
	grpc_byte_buffer_destroy(item->bytes);
	free(item);
}

void outbox_push(Outbox *outbox, OutboxItem *item)
{
	if (outbox->last)
		outbox->last->next = item;
	else
		outbox->first = item;
	outbox->last = item;
	outbox->bytes += item->size;
}

OutboxItem *outbox_pop(Outbox *outbox)
{
	OutboxItem *item = outbox->first;

	if (!item)
		return NULL;
	outbox->first = item->next;
	if (!outbox->first)
		outbox->last = NULL;
	outbox->bytes -= item->size;
	item->next = NULL;
	return item;
}

OutboxItem *outbox_take(Outbox *outbox)
{
	OutboxItem *chain = outbox->first;

	*outbox = (Outbox){ 0 };
	return chain;
}

void outbox_items_free(OutboxItem *chain)
{
	while (chain) {
		OutboxItem *item = chain;

		chain = item->next;
		outbox_item_free(item);
	}
}

grpc_byte_buffer *outbox_item_bytes(const OutboxItem *item)
{
	return item->bytes;
}
