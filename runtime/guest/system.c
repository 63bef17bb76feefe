/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guest/system.h"

#include "runtime/guest/protocol.h"

#include <fcntl.h>
#include <linux/random.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <time.h>

static const int64_t billion = 1000000000;

int64_t guest_system_uptime_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_BOOTTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t available_memory(void)
{
	cleanup_fclose FILE *file = fopen("/proc/meminfo", "re");
	char line[128];

	while (file && fgets(line, sizeof line, file))
		if (strncmp(line, "MemAvailable:", 13) == 0)
			return strtoll(line + 13, NULL, 10) * 1024;
	return -1;
}

static int64_t count_processes(void)
{
	cleanup_closedir DIR *dir = opendir("/proc");
	const struct dirent *entry;
	int64_t count = 0;

	while (dir && (entry = readdir(dir)))
		count += entry->d_name[0] >= '1' && entry->d_name[0] <= '9';
	return count;
}

void guest_system_stats(GuestLine *line)
{
	int64_t available = available_memory();
	struct sysinfo info;
	struct statvfs root;

	guest_line_number(line, "uptime_ms", guest_system_uptime_ms());
	if (sysinfo(&info) == 0) {
		guest_line_number(line, "load1_milli", (int64_t)(info.loads[0] * 1000 >> 16));
		guest_line_number(line, "memory_total",
				  (int64_t)info.totalram * (int64_t)info.mem_unit);
	}
	if (available >= 0)
		guest_line_number(line, "memory_available", available);
	guest_line_number(line, "processes", count_processes());
	if (statvfs("/", &root) == 0) {
		guest_line_number(line, "disk_total", (int64_t)(root.f_blocks * root.f_frsize));
		guest_line_number(line, "disk_free", (int64_t)(root.f_bavail * root.f_frsize));
	}
}

int guest_system_set_clock(int64_t time_ns)
{
	struct timespec time = { .tv_sec = (time_t)(time_ns / billion),
				 .tv_nsec = (long)(time_ns % billion) };

	return clock_settime(CLOCK_REALTIME, &time) < 0 ? -errno : 0;
}

int guest_system_reseed(const void *bytes, size_t length)
{
	static union {
		struct rand_pool_info info;
		char room[sizeof(struct rand_pool_info) + GUEST_DATA_MAX];
	} pool;
	cleanup_close int fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
	int r = 0;

	if (fd < 0)
		return -errno;
	pool.info.entropy_count = (int)length * 8;
	pool.info.buf_size = (int)length;
	memcpy(pool.info.buf, bytes, length);
	/* Without the second, a guest restored from a snapshot goes on with numbers it gave before.
	 */
	if (ioctl(fd, RNDADDENTROPY, &pool.info) < 0 || ioctl(fd, RNDRESEEDCRNG) < 0)
		r = -errno;
	explicit_bzero(&pool, sizeof pool);
	return r;
}
