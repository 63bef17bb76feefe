/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/pump.h"

#include <grpc/support/time.h>
#include <pthread.h>
#include <sys/eventfd.h>

struct Pump {
	grpc_completion_queue *queue;
	int wake_fd;
	pthread_t thread;
};

static grpc_event next(const Pump *pump)
{
	return grpc_completion_queue_next(pump->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
}

static void *serve(void *arg)
{
	const Pump *pump = arg;
	grpc_event event;

	while ((event = next(pump)).type != GRPC_QUEUE_SHUTDOWN) {
		Batch *batch = event.tag;

		/* From now on it may be gone. */
		atomic_store(&batch->done, true);
		(void)eventfd_write(pump->wake_fd, 1);
	}
	return NULL;
}

Pump *pump_new(void)
{
	Pump *pump = new0(Pump);
	int r;

	pump->queue = grpc_completion_queue_create_for_next(NULL);
	pump->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = pump->wake_fd < 0 ? errno : pthread_create(&pump->thread, NULL, serve, pump);
	if (r == 0)
		return pump;
	grpc_completion_queue_shutdown(pump->queue);
	(void)next(pump);
	grpc_completion_queue_destroy(pump->queue);
	closep(&pump->wake_fd);
	free(pump);
	errno = r;
	return NULL;
}

void pump_free(Pump *pump)
{
	grpc_completion_queue_shutdown(pump->queue);
	(void)pthread_join(pump->thread, NULL);
	grpc_completion_queue_destroy(pump->queue);
	(void)close(pump->wake_fd);
	free(pump);
}

grpc_completion_queue *pump_queue(Pump *pump)
{
	return pump->queue;
}

void pump_poll(Pump *pump, struct pollfd *fds, size_t count)
{
	eventfd_t ignored;

	fds[0] = (struct pollfd){ .fd = pump->wake_fd, .events = POLLIN };
	while (poll(fds, count, -1) < 0 && errno == EINTR)
		;
	/* Batches are looked at after this, so that none is missed. */
	(void)eventfd_read(pump->wake_fd, &ignored);
}

void pump_wait(Pump *pump, const Batch *batch)
{
	struct pollfd fd;

	while (!atomic_load(&batch->done))
		pump_poll(pump, &fd, 1);
}
