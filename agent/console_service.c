/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ReadConsole: what is kept, then what comes.
 *
 * Of the guest, or of its VMM. The pump reads the keeper's files as far as the client takes it. It
 * is woken by the files (ConsoleWatch) and by the registry, which tells of the VM's end and, as
 * long as the run directory does not exist, of its making. Text is valid UTF-8 whatever the guest
 * writes, and a sequence that a read cut in two is whole in what is sent.
 */

#include "agent/handlers.h"
#include "agent/request.h"
#include "base/clock.h"
#include "base/descriptors.h"
#include "base/text.h"

#include <inttypes.h>
#include <string.h>

enum {
	CHUNK = 16 * 1024,
	CUT_MAX = 3, /* bytes of a sequence that may lack their end */
	TAIL_MAX = 16777216,
	PACE = 20 * USEC_PER_MSEC, /* between looks at what grows byte by byte */
};

typedef struct ConsoleCall {
	Watcher watcher;
	Call *call;
	Runtime *runtime;
	bool watching;
	bool follow;
	bool unread; /* the last run ended before the files did */
	atomic_bool grown;
	char vm_id[64];
	char uid[64];
	ConsoleSource source;
	uint64_t tail_bytes;
	uint64_t seen; /* the VM's revision when last looked at */
	char *run_dir;
	ConsoleReader *reader;
	ConsoleFollow *following;
	char cut[CUT_MAX];
	size_t cut_length;
	int64_t looked; /* monotonic */
	LoopSource *timer;
} ConsoleCall;

static void console_wake(Watcher *watcher)
{
	call_wake(container_of(watcher, ConsoleCall, watcher)->call);
}

static void console_changed(void *user)
{
	ConsoleCall *console = user;

	atomic_store(&console->grown, true);
	call_wake(console->call);
}

static void console_end(void *user)
{
	ConsoleCall *console = user;

	if (console->watching)
		registry_unwatch(runtime_registry(console->runtime), &console->watcher);
	if (console->following)
		console_unfollow(runtime_console_watch(console->runtime), console->following);
	loop_remove(agent_of(console->call)->loop, console->timer);
	if (console->reader)
		console_close(console->reader);
	free(console->run_dir);
	call_unref(console->call);
	free(console);
}

/* How many of the last bytes begin a sequence that is not complete, and may yet be. */
static size_t cut_at_end(const char *bytes, size_t length)
{
	for (size_t back = 1; back <= CUT_MAX && back <= length; back++) {
		unsigned char c = (unsigned char)bytes[length - back];

		if ((c & 0xc0) == 0x80)
			continue;
		if ((c >= 0xc2 && c <= 0xdf && back < 2) || (c >= 0xe0 && c <= 0xef && back < 3) ||
		    (c >= 0xf0 && c <= 0xf4 && back < 4))
			return back;
		return 0;
	}
	return 0;
}

static void console_write(ConsoleCall *console, const char *bytes, size_t length, bool gap)
{
	Hearth__V1__ReadConsoleResponse response;
	cleanup_free char *text = new0_array(char, 3 * length + 1);

	(void)text_to_utf8(text, bytes, length);
	hearth__v1__read_console_response__init(&response);
	response.text = text;
	response.gap = gap;
	call_write(console->call, &response.base);
}

/* The next chunk; 0 when there is none now, -1 when the call has failed. */
static int console_step(ConsoleCall *console)
{
	cleanup_free char *buffer = new0_array(char, CUT_MAX + CHUNK);
	size_t length = console->cut_length;
	char *at = buffer;
	Error err = { 0 };
	bool gap = false;
	ssize_t n;

	memcpy(buffer, console->cut, length);
	n = console_read(console->reader, buffer + length, CHUNK, &gap);
	if (n < 0) {
		(void)error_set_errno(&err, ERROR_VMM_FAILED, (int)-n, "read the console");
		error_about_vm(&err, console->vm_id);
		call_fail(console->call, &err);
		return -1;
	}
	if (n == 0)
		return 0;
	if (gap && length) {
		/* What was cut has lost its end. */
		console_write(console, buffer, length, false);
		at += length;
		length = 0;
	}
	length += (size_t)n;
	console->cut_length = cut_at_end(at, length);
	length -= console->cut_length;
	memcpy(console->cut, at + length, console->cut_length);
	if (length || gap)
		console_write(console, at, length, gap);
	return 1;
}

/*
 * Looks at the VM: is it still there? The run directory, and so the first chance to follow it,
 * comes with one of its changes.
 */
static bool vm_is_gone(ConsoleCall *console)
{
	cleanup_(record_unrefp) VmRecord *record =
		registry_get(runtime_registry(console->runtime), console->vm_id);
	Error err = { 0 };

	if (!record || !text_equal(record->uid, console->uid)) {
		atomic_store(&console->grown, true);
		return true;
	}
	if (console->following || !console->follow || record->revision == console->seen)
		return false;
	console->seen = record->revision;
	console->following =
		console_follow(runtime_console_watch(console->runtime), console->run_dir,
			       console->source, console_changed, console);
	if (!console->following && errno != ENOENT) {
		(void)error_set_errno(&err, ERROR_VMM_FAILED, errno, "follow the console");
		error_about_vm(&err, console->vm_id);
		call_fail(console->call, &err);
	}
	atomic_store(&console->grown, true);
	return false;
}

static void console_start(ConsoleCall *console)
{
	console->reader = console_open(console->run_dir, console->source, console->tail_bytes);
	if (!console->follow)
		return;
	registry_watch(runtime_registry(console->runtime), &console->watcher);
	console->watching = true;
}

/* So that a guest's every byte is no message of its own: too soon to look again? Then looks later.
 */
static bool is_early(ConsoleCall *console)
{
	int64_t wait = console->looked + PACE - clock_mono_us();

	if (!console->looked || wait <= 0)
		return false;
	loop_remove(agent_of(console->call)->loop, console->timer);
	console->timer = agent_wake_after(console->call, wait);
	return console->timer;
}

static void console_pump(Call *call, void *user)
{
	ConsoleCall *console = user;
	bool gone;

	if (!console->reader)
		console_start(console);
	gone = vm_is_gone(console);
	if (!console->unread && (!atomic_load(&console->grown) || (!gone && is_early(console))))
		return;
	atomic_store(&console->grown, false);
	console->looked = clock_mono_us();
	console->unread = true;
	while (call_writable(call)) {
		int r = console_step(console);

		if (r < 0)
			return;
		if (r > 0)
			continue;
		console->unread = false;
		break;
	}
	if (console->unread || (console->follow && !gone))
		return;
	if (console->cut_length)
		console_write(console, console->cut, console->cut_length, false);
	call_finish(call);
}

/* UNSUPPORTED if what runs the VM has no console. */
static int check_backend(Runtime *runtime, const VmRecord *record, Error *err)
{
	BackendInfo infos[VM_BACKEND_COUNT_];
	size_t count = runtime_backends(runtime, infos);
	VmBackend backend = record->spec->backend;

	if (record->status.resolved && record->status.resolved->backend)
		backend = record->status.resolved->backend;
	else if (!backend)
		backend = runtime_config(runtime)->default_backend;
	for (size_t i = 0; i < count; i++)
		if (infos[i].backend == backend && (infos[i].capabilities & BACKEND_CONSOLE))
			return 0;
	return error_set(err, ERROR_UNSUPPORTED, "console (%s)", vm_backend_name(backend));
}

static int find_vm(VmRecord **ret, Runtime *runtime, const Hearth__V1__ReadConsoleRequest *request,
		   Error *err)
{
	request_check_vm_id(request->vm_id, err);
	if (request->tail_bytes > TAIL_MAX)
		(void)error_add_violation(err, "tail_bytes", "must be 0 to %d", TAIL_MAX);
	if (error_is_set(err) ||
	    runtime_get_vm(runtime, request->vm_id, request->expected_uid, ret, err) < 0)
		return -1;
	if (!descriptors_left())
		return error_set_cause(err, ERROR_QUEUE_FULL, CAUSE_EXHAUSTED,
				       "no descriptors are left for readers of consoles");
	return check_backend(runtime, *ret, err);
}

static void read_console(Call *call, Runtime *runtime,
			 const Hearth__V1__ReadConsoleRequest *request)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;
	ConsoleCall *console;
	Error err = { 0 };

	if (find_vm(&record, runtime, request, &err) < 0) {
		(void)request_fail(call, request->vm_id, &err);
		return;
	}
	console = new0(ConsoleCall);
	console->watcher.wake = console_wake;
	console->runtime = runtime;
	console->follow = request->follow;
	console->source = request->source ? (ConsoleSource)request->source : CONSOLE_SOURCE_SERIAL;
	console->tail_bytes = request->tail_bytes;
	console->run_dir = runtime_run_dir(runtime, record);
	atomic_init(&console->grown, true);
	text_copy(console->vm_id, sizeof console->vm_id, record->vm_id);
	text_copy(console->uid, sizeof console->uid, record->uid);
	console->call = call_ref(call);
	call_stream(call, console_pump, console_end, console);
}

DEFINE_HANDLER(VmService, read_console, ReadConsole, ReadConsoleResponse);
