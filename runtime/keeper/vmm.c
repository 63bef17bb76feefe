/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/keeper/vmm.h"

#include "runtime/keeper/child.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

static int socket_make(int *ours, int *theirs)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -1;
	*ours = ends[0];
	*theirs = ends[1];
	return fcntl(ends[0], F_SETFL, O_NONBLOCK);
}

int vmm_start(Vmm *ret, char *const argv[], const VmmWants *wanted, Error *err)
{
	cleanup_close int console = -1, output = -1, ours = -1;
	cleanup_close int null = -1, console_in = -1, output_in = -1, theirs = -1;
	ChildPlan plan;
	pid_t pid;

	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (null < 0)
		return error_set_errno(err, ERROR_VMM_FAILED, errno, "open /dev/null");
	if (child_pipe(&output, &output_in) < 0 ||
	    (wanted->console && child_pipe(&console, &console_in) < 0) ||
	    (wanted->qmp && socket_make(&ours, &theirs) < 0))
		return error_set_errno(err, ERROR_VMM_FAILED, errno, "pipes for %s", argv[0]);
	plan = (ChildPlan){ .fd = { null, output_in, output_in, console_in, theirs },
			    .groups = wanted->groups };
	pid = child_start(argv, &plan);
	if (pid < 0)
		return error_set_errno(err, ERROR_VMM_FAILED, -pid, "exec %s", argv[0]);

	*ret = (Vmm){
		.pid = pid,
		.console = take_fd(console),
		.output = take_fd(output),
		.qmp = take_fd(ours),
	};
	return 0;
}
