/* SPDX-License-Identifier: Apache-2.0 */
#include "vsock.h"

#include "daemon.h"
#include "guest.h"
#include "virtio.h"

enum {
	BUFFER_SIZE = 4096,
	PORT = 5555,
	ROOM = 1u << 30, /* told as this end's buffer: more than anybody sends */
};

enum {
	RX,
	TX,
	EVENT,
	QUEUES
};

/* what a packet is about */
enum {
	REQUEST = 1,
	RESPONSE,
	RESET,
	SHUTDOWN,
	DATA,
	CREDIT_UPDATE,
	CREDIT_REQUEST
};

struct packet {
	uint64_t source_cid, target_cid;
	uint32_t source_port, target_port;
	uint32_t length;
	uint16_t type, what;
	uint32_t flags;
	uint32_t room, taken;
} __attribute__((packed));

static volatile struct virtio_queue queues[QUEUES];
static struct virtio device = { .queues = queues };
static uint8_t buffers[VIRTIO_BUFFERS][BUFFER_SIZE] __attribute__((aligned(16)));
static uint8_t event[16]; /* the device was reset: nothing here has to know */
static uint32_t taken;    /* bytes, of all connections: each test has one at a time */

void vsock_start(const char *args)
{
	virtio_start(&device, args, VIRTIO_VSOCK, 0, QUEUES);
	if (!device.base)
		return;
	for (uint16_t i = 0; i < VIRTIO_BUFFERS; i++)
		virtio_offer(&device, RX, i, buffers[i], BUFFER_SIZE, VIRTIO_WRITE);
	virtio_offer(&device, EVENT, 0, event, sizeof event, VIRTIO_WRITE);
	put("guest: vsock ready\r\n");
}

/* The answer to a packet is made of it; 0: none. */
static uint16_t answer_to(const struct packet *packet)
{
	switch (packet->what) {
	case REQUEST:
		return packet->target_port == PORT ? RESPONSE : RESET;
	case SHUTDOWN:
		return RESET;
	case DATA:
		return DATA;
	case CREDIT_REQUEST:
		return CREDIT_UPDATE;
	default:
		return 0;
	}
}

static void answer(struct packet *packet, uint16_t what)
{
	uint64_t cid = packet->source_cid;
	uint32_t port = packet->source_port;

	taken = what == RESPONSE ? 0 : taken + packet->length;
	if (what == DATA)
		packet->length = daemon_answer((char *)(packet + 1), packet->length,
					       BUFFER_SIZE - sizeof *packet);
	if (what == DATA && !packet->length)
		what = CREDIT_UPDATE;
	packet->source_cid = packet->target_cid;
	packet->target_cid = cid;
	packet->source_port = packet->target_port;
	packet->target_port = port;
	packet->what = what;
	packet->flags = 0;
	packet->room = ROOM;
	packet->taken = taken;
	virtio_offer(&device, TX, 0, packet, sizeof *packet + packet->length, VIRTIO_READ);
	while (virtio_take(&device, TX) < 0)
		;
}

void vsock_poll(void)
{
	int id;

	if (!device.base)
		return;
	while ((id = virtio_take(&device, RX)) >= 0) {
		struct packet *packet = (struct packet *)buffers[id];
		uint16_t what = answer_to(packet);

		if (what)
			answer(packet, what);
		virtio_offer(&device, RX, (uint16_t)id, buffers[id], BUFFER_SIZE, VIRTIO_WRITE);
	}
	if (virtio_take(&device, EVENT) >= 0)
		virtio_offer(&device, EVENT, 0, event, sizeof event, VIRTIO_WRITE);
}
