/* SPDX-License-Identifier: Apache-2.0 */
#include "balloon.h"

#include "guest.h"
#include "virtio.h"

enum {
	PAGE = 4096,
	FIRST_PAGE = (8 << 20) / PAGE,
	PAGES_AT_ONCE = 256,

	/* the device's own registers */
	WANTED = VIRTIO_CONFIG,
	ACTUAL = VIRTIO_CONFIG + 4,

	HAS_STATISTICS = 1 << 1,
	TAG_FREE = 4,
	FREE_BYTES = 12345 * 1024, /* nothing here counts: a number that a test knows again */
};

enum {
	INFLATE,
	DEFLATE,
	STATISTICS, /* if both sides have them */
	/* Firecracker does not begin before all of a device's queues are there, also those for what
	 * this side has not asked for: free pages that are hinted at or reported. */
	QUEUES = 5
};

struct statistic {
	uint16_t tag;
	uint64_t value;
} __attribute__((packed));

static volatile struct virtio_queue queues[QUEUES];
static struct virtio device = { .queues = queues };
static struct statistic statistics[] = { { TAG_FREE, FREE_BYTES } };
static uint32_t pages[PAGES_AT_ONCE];
static uint32_t given; /* pages */

static void offer_statistics(void)
{
	virtio_offer(&device, STATISTICS, 0, statistics, sizeof statistics, VIRTIO_READ);
}

void balloon_start(const char *args)
{
	virtio_start(&device, args, VIRTIO_BALLOON, HAS_STATISTICS, QUEUES);
	if (!device.base)
		return;
	if (device.features & HAS_STATISTICS)
		offer_statistics();
	put("guest: balloon ready\r\n");
}

/* Gives @count pages to the host from @first on, or takes them back. */
static void move(uint32_t which, uint32_t first, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		pages[i] = FIRST_PAGE + first + i;
	virtio_offer(&device, which, 0, pages, count * sizeof *pages, VIRTIO_READ);
	while (virtio_take(&device, which) < 0)
		;
}

static uint32_t at_once(uint32_t count)
{
	return count < PAGES_AT_ONCE ? count : PAGES_AT_ONCE;
}

uintptr_t balloon_end(void)
{
	return (uintptr_t)(FIRST_PAGE + given) * PAGE;
}

void balloon_poll(void)
{
	uint32_t wanted, before = given;

	if (!device.base)
		return;
	wanted = virtio_read(&device, WANTED);
	while (given < wanted) {
		uint32_t count = at_once(wanted - given);

		move(INFLATE, given, count);
		given += count;
	}
	while (given > wanted) {
		uint32_t count = at_once(given - wanted);

		given -= count;
		move(DEFLATE, given, count);
	}
	if (given != before) {
		virtio_write(&device, ACTUAL, given);
		put("guest: balloon of ");
		put_number(given);
		put(" pages\r\n");
	}
	if ((device.features & HAS_STATISTICS) && virtio_take(&device, STATISTICS) >= 0)
		offer_statistics();
}
