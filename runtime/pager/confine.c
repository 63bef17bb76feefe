/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/pager/confine.h"

#include "base/cleanup.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "which architecture is this to the kernel's audit?"
#endif

/* clang-format off */
static const unsigned allowed[] = {
	/* faults */
	SYS_read, SYS_ioctl, SYS_fcntl, SYS_ppoll, SYS_mincore, SYS_madvise, SYS_pread64,
	/* the hand-shake */
	SYS_accept4, SYS_getsockopt, SYS_recvmsg, SYS_readlinkat, SYS_close,
	/* pager.state and working sets */
	SYS_openat, SYS_newfstatat, SYS_fstat, SYS_lseek, SYS_write, SYS_fsync, SYS_fallocate,
	SYS_renameat, SYS_renameat2, SYS_unlinkat, SYS_getrandom,
	/* the VMM's end, and its own */
	SYS_pidfd_send_signal, SYS_exit, SYS_exit_group, SYS_tgkill, SYS_getpid, SYS_gettid,
	/* the C library: memory, threads, time */
	SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_brk, SYS_clone, SYS_clone3,
	SYS_set_robust_list, SYS_rseq, SYS_futex, SYS_sched_yield, SYS_sched_getaffinity,
	SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_restart_syscall,
	SYS_clock_gettime, SYS_clock_nanosleep,
	/* sanitizers, for each thread */
	SYS_sigaltstack, SYS_prlimit64, SYS_prctl,
#if defined(__x86_64__) /* which has older ones for the same */
	SYS_poll, SYS_readlink, SYS_open, SYS_rename, SYS_unlink,
#endif
};
/* clang-format on */

/* CAP_KILL, if it has that. */
static int keep_kill(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data) < 0)
		return -errno;
	for (size_t i = 0; i < array_size(data); i++) {
		data[i].permitted &= i == CAP_TO_INDEX(CAP_KILL) ? CAP_TO_MASK(CAP_KILL) : 0;
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

static int filter_calls(void)
{
	enum {
		HEAD = 4,
		COUNT = HEAD + 2 * array_size(allowed) + 1
	};
	struct sock_filter code[COUNT] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	};
	const struct sock_fprog program = { COUNT, code };
	struct sock_filter *at = code + HEAD;

	for (size_t i = 0; i < array_size(allowed); i++) {
		*at++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[i], 0, 1);
		*at++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	}
	/* An error, not the end: what a C library tries first it may do without. */
	*at = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) < 0 ? -errno : 0;
}

int confine(void)
{
	int r = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : keep_kill();

	if (r < 0)
		return r;
	r = filter_calls();
	return r == -EINVAL ? 0 : r; /* a kernel without */
}
