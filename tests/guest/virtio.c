/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio.h"

#include "guest.h"

#include <stddef.h>

enum {
	/* registers */
	MAGIC = 0x00,
	DEVICE_ID = 0x08,
	DEVICE_FEATURES = 0x10,
	DEVICE_FEATURES_SELECT = 0x14,
	DRIVER_FEATURES = 0x20,
	DRIVER_FEATURES_SELECT = 0x24,
	QUEUE_SELECT = 0x30,
	QUEUE_SIZE = 0x38,
	QUEUE_READY = 0x44,
	QUEUE_NOTIFY = 0x50,
	STATUS = 0x70,
	QUEUE_TABLE = 0x80,
	QUEUE_AVAILABLE = 0x90,
	QUEUE_USED = 0xa0,

	MAGIC_VALUE = 0x74726976,
	VERSION_1 = 1, /* the lowest bit of the features' second word */
	STATUS_FEATURES_OK = 11,
};

/* A device's status must pass through each of these. */
static const uint32_t status_steps[] = { 0, 1, 3, STATUS_FEATURES_OK, 15 };

/* Keeps the compiler, and on this machine so the CPU, from moving reads and writes across it. */
static void barrier(void)
{
	__asm__ volatile("" : : : "memory");
}

uint32_t virtio_read(const struct virtio *virtio, uint32_t offset)
{
	return *(volatile uint32_t *)(virtio->base + offset);
}

void virtio_write(const struct virtio *virtio, uint32_t offset, uint32_t value)
{
	*(volatile uint32_t *)(virtio->base + offset) = value;
}

static void write_address(const struct virtio *virtio, uint32_t offset,
			  const volatile void *address)
{
	virtio_write(virtio, offset, (uint32_t)(uintptr_t)address);
	virtio_write(virtio, offset + 4, 0);
}

static void start_queue(const struct virtio *virtio, uint32_t which)
{
	volatile struct virtio_queue *queue = &virtio->queues[which];

	virtio_write(virtio, QUEUE_SELECT, which);
	virtio_write(virtio, QUEUE_SIZE, VIRTIO_BUFFERS);
	write_address(virtio, QUEUE_TABLE, queue->table);
	write_address(virtio, QUEUE_AVAILABLE, &queue->available);
	write_address(virtio, QUEUE_USED, &queue->used);
	virtio_write(virtio, QUEUE_READY, 1);
}

static void accept(struct virtio *virtio, uint32_t features)
{
	virtio_write(virtio, DEVICE_FEATURES_SELECT, 0);
	virtio->features = features & virtio_read(virtio, DEVICE_FEATURES);
	virtio_write(virtio, DRIVER_FEATURES_SELECT, 0);
	virtio_write(virtio, DRIVER_FEATURES, virtio->features);
	virtio_write(virtio, DRIVER_FEATURES_SELECT, 1);
	virtio_write(virtio, DRIVER_FEATURES, VERSION_1);
}

static void bring_up(struct virtio *virtio, uint32_t features, uint32_t count)
{
	for (size_t i = 0; i < sizeof status_steps / sizeof *status_steps; i++) {
		if (status_steps[i] == STATUS_FEATURES_OK)
			accept(virtio, features);
		virtio_write(virtio, STATUS, status_steps[i]);
		if (status_steps[i] == STATUS_FEATURES_OK)
			for (uint32_t which = 0; which < count; which++)
				start_queue(virtio, which);
	}
}

void virtio_start(struct virtio *virtio, const char *args, uint32_t id, uint32_t features,
		  uint32_t count)
{
	static const char key[] = "virtio_mmio.device=";

	for (args = find(args, key); *args; args = find(args, key)) {
		virtio->base = number_at(find(args, "@"));
		if (virtio_read(virtio, MAGIC) == MAGIC_VALUE &&
		    virtio_read(virtio, DEVICE_ID) == id) {
			bring_up(virtio, features, count);
			return;
		}
	}
	virtio->base = 0;
}

void virtio_offer(struct virtio *virtio, uint32_t which, uint16_t id, void *buffer, uint32_t length,
		  uint16_t flags)
{
	volatile struct virtio_queue *queue = &virtio->queues[which];

	queue->table[id].address = (uintptr_t)buffer;
	queue->table[id].length = length;
	queue->table[id].flags = flags;
	queue->available.ring[queue->available.index % VIRTIO_BUFFERS] = id;
	barrier();
	queue->available.index++;
	barrier();
	virtio_write(virtio, QUEUE_NOTIFY, which);
}

int virtio_take(struct virtio *virtio, uint32_t which)
{
	volatile struct virtio_queue *queue = &virtio->queues[which];

	if (queue->seen == queue->used.index)
		return -1;
	barrier();
	return (int)queue->used.ring[queue->seen++ % VIRTIO_BUFFERS].id;
}
