/* SPDX-License-Identifier: Apache-2.0 */
#include "base/epoll_thread.h"

#include "base/cleanup.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

int epoll_thread_start(EpollThread *ret, void *(*serve)(void *arg), void *arg)
{
	cleanup_close int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	cleanup_close int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct epoll_event event = { .events = EPOLLIN };
	int r;

	if (epoll_fd < 0 || wake_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, wake_fd, &event) < 0)
		return -errno;
	ret->epoll_fd = epoll_fd;
	ret->wake_fd = wake_fd;
	r = pthread_create(&ret->thread, NULL, serve, arg);
	if (r)
		return -r;
	(void)take_fd(epoll_fd);
	(void)take_fd(wake_fd);
	return 0;
}

int epoll_thread_wait(const EpollThread *thread, struct epoll_event *events, int most,
		      int timeout_ms)
{
	int n = epoll_wait(thread->epoll_fd, events, most, timeout_ms);
	int kept = 0;

	for (int i = 0; i < n; i++) {
		eventfd_t ignored;

		if (events[i].data.ptr)
			events[kept++] = events[i];
		else
			(void)eventfd_read(thread->wake_fd, &ignored);
	}
	return kept;
}

void epoll_thread_wake(const EpollThread *thread)
{
	(void)eventfd_write(thread->wake_fd, 1);
}

void epoll_thread_join(EpollThread *thread)
{
	epoll_thread_wake(thread);
	(void)pthread_join(thread->thread, NULL);
}

void epoll_thread_close(EpollThread *thread)
{
	closep(&thread->epoll_fd);
	closep(&thread->wake_fd);
}
