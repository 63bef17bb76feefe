/* SPDX-License-Identifier: Apache-2.0 */

/*
 * hearth-guest: the daemon, or who tells it that the guest is ready.
 */

#include "runtime/guest/daemon.h"
#include "runtime/guest/protocol.h"
#include "runtime/guest/ready.h"

#include <fcntl.h>
#include <getopt.h>
#include <string.h>

static const char usage[] =
	"usage: hearth-guest [--wait-ready] [--dir DIR] [--socket PATH]\n"
	"       hearth-guest ready [--dir DIR]\n"
	"       hearth-guest --help | --version\n"
	"\n"
	"Serves the host over the virtio-serial port " GUEST_SERIAL " or vsock.\n"
	"\n"
	"  --wait-ready   the guest is ready when \"hearth-guest ready\" says so, not at once\n"
	"  --dir DIR      instead of " GUEST_DIR "\n"
	"  --socket PATH  listen at a unix socket, for tests\n";

static const struct option options[] = {
	{ "wait-ready", no_argument, NULL, 'w' },   { "dir", required_argument, NULL, 'd' },
	{ "socket", required_argument, NULL, 's' }, { "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'v' },      { 0 },
};

/* An init may start it without them, and then they are not to be those of a command's pipe. */
static void open_standard_files(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd < 3);
	if (fd >= 3)
		(void)close(fd);
}

static int say_ready(const char *dir)
{
	int r = guest_ready_say(dir);

	if (r == 0)
		return 0;
	(void)fprintf(stderr, "hearth-guest: %s/guest.sock: %s\n", dir, strerror(-r));
	return 1;
}

static int print(const char *text)
{
	return fputs(text, stdout) < 0 || fflush(stdout) < 0;
}

static int complain(void)
{
	(void)fputs(usage, stderr);
	return 2;
}

int main(int argc, char **argv)
{
	GuestDaemonConfig config = { .dir = GUEST_DIR };
	int option;

	open_standard_files();
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'w':
			config.wait_ready = true;
			break;
		case 'd':
			config.dir = optarg;
			break;
		case 's':
			config.socket = optarg;
			break;
		case 'h':
			return print(usage);
		case 'v':
			return print("hearth-guest " HEARTH_VERSION "\n");
		default:
			return complain();
		}
	}
	if (optind == argc)
		return guest_daemon_run(&config) < 0;
	if (optind + 1 == argc && strcmp(argv[optind], "ready") == 0)
		return say_ready(config.dir);
	return complain();
}
