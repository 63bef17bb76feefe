/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/server.h"
#include "base/text.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* A server that listens and serves nothing. */
static Server *bare(void)
{
	static const ServerConfig plain = {
		.max_message = 1 << 20,
		.max_connections = 16,
		.max_calls = 100,
		.max_streams_per_connection = 100,
	};
	Server *server = NULL;
	Error err = { 0 };

	cr_assert_eq(server_new(&server, &plain, &err), 0);
	return server;
}

Test(listener, addresses_that_are_none_are_refused)
{
	static const char *const bad[] = { "",    "localhost",   "::1:80",       "127.0.0.1:",
					   ":80", "unix:s.sock", "127.0.0.1:1x", "unix:" };
	Server *server = bare();

	for (size_t i = 0; i < array_size(bad); i++) {
		Error err = { 0 };

		cr_assert_eq(server_listen(server, bad[i], &err), -1, "%s", bad[i]);
		cr_assert_eq(err.kind, ERROR_INVALID_REQUEST);
	}
	server_free(server);
}

Test(listener, a_unix_socket_is_private_and_removed_at_the_end)
{
	char directory[] = "/tmp/test-server-XXXXXX";
	cr_assert_not_null(mkdtemp(directory));
	cleanup_free char *path = text_printf("%s/s", directory);
	cleanup_free char *address = text_printf("unix:%s", path);
	Server *server = bare();
	struct stat info;
	Error err = { 0 };

	cr_assert_eq(server_listen(server, address, &err), 0);
	cr_assert_eq(stat(path, &info), 0);
	cr_assert_eq(info.st_mode & 07777, 0600);
	server_free(server);

	cr_assert_eq(stat(path, &info), -1);
	(void)rmdir(directory);
}

Test(listener, a_live_socket_is_not_taken_over_and_a_stale_one_is)
{
	char directory[] = "/tmp/test-server-XXXXXX";
	cr_assert_not_null(mkdtemp(directory));
	cleanup_free char *path = text_printf("%s/s", directory);
	cleanup_free char *address = text_printf("unix:%s", path);
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	Server *server = bare();
	Error err = { 0 };
	text_copy(name.sun_path, sizeof name.sun_path, path);
	cr_assert_eq(bind(other, (struct sockaddr *)&name, sizeof name), 0);
	cr_assert_eq(listen(other, 1), 0);

	cr_assert_eq(server_listen(server, address, &err), -1);
	cr_assert(strstr(err.what, "another process listens"));
	(void)close(other);
	error_clear(&err);
	cr_assert_eq(server_listen(server, address, &err), 0);

	server_free(server);
	(void)rmdir(directory);
}

Test(listener, a_file_that_is_no_socket_is_left_alone)
{
	char path[] = "/tmp/test-server-XXXXXX";
	cleanup_close int fd = mkstemp(path);
	cleanup_free char *address = text_printf("unix:%s", path);
	Server *server = bare();
	struct stat info;
	Error err = { 0 };

	cr_assert_geq(fd, 0);

	cr_assert_eq(server_listen(server, address, &err), -1);

	cr_assert(strstr(err.what, "is not a socket"));
	cr_assert_eq(stat(path, &info), 0);
	server_free(server);
	(void)unlink(path);
}
