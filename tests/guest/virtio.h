/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Devices on virtio-mmio (Virtual I/O Device 1.2, §4.2), as far as this guest needs them: split
 * queues of a few buffers, polled, without interrupts.
 */

#include <stdint.h>

enum {
	VIRTIO_BALLOON = 5,
	VIRTIO_VSOCK = 19,

	VIRTIO_BUFFERS = 4, /* of a queue; a power of two */

	VIRTIO_READ = 0,  /* the device reads the buffer */
	VIRTIO_WRITE = 2, /* it writes to it */

	VIRTIO_CONFIG = 0x100, /* where a device's own registers begin */
};

struct virtio_descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

struct virtio_queue {
	struct virtio_descriptor table[VIRTIO_BUFFERS];
	struct {
		uint16_t flags, index, ring[VIRTIO_BUFFERS];
	} available;
	struct {
		uint16_t flags, index;
		struct {
			uint32_t id, length;
		} ring[VIRTIO_BUFFERS];
	} used;
	uint16_t seen; /* of used.index */
} __attribute__((aligned(16)));

struct virtio {
	uintptr_t base; /* 0: there is no such device */
	volatile struct virtio_queue *queues;
	uint32_t features; /* those that both sides have, of the first 32 */
};

/* Brings up the device of kind @id, if it is among those that @args name, with @count queues and
 * those of @features that it has. */
void virtio_start(struct virtio *virtio, const char *args, uint32_t id, uint32_t features,
		  uint32_t count);

/* Gives @buffer to the device, in descriptor @id of the queue @which, for VIRTIO_READ or _WRITE. */
void virtio_offer(struct virtio *virtio, uint32_t which, uint16_t id, void *buffer, uint32_t length,
		  uint16_t flags);

/* The descriptor of a buffer that the device has done with, or -1. */
int virtio_take(struct virtio *virtio, uint32_t which);

uint32_t virtio_read(const struct virtio *virtio, uint32_t offset);
void virtio_write(const struct virtio *virtio, uint32_t offset, uint32_t value);
