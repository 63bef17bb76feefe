/* SPDX-License-Identifier: Apache-2.0 */

/*
 * hearthd: reads its configuration, serves, and waits for a signal.
 *
 * It serves before its store is open, so that a client is told so rather than
 * refused; health says NOT_SERVING until then. SIGTERM and SIGINT drain: new
 * work is refused, calls have drain_timeout to end, VMs go on. A second signal
 * ends the agent at once.
 */

#include "agent/agent.h"
#include "agent/alive.h"
#include "agent/audit.h"
#include "agent/handlers.h"
#include "agent/log.h"
#include "agent/metrics/http.h"
#include "agent/metrics/page.h"
#include "agent/metrics/rpcs.h"
#include "agent/node_form.h"
#include "agent/notify.h"
#include "agent/status.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "runtime/guest.h"

#include <assert.h>
#include <inttypes.h>
#include <libgen.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

enum {
	EXIT_USAGE = 2,
	STOP_SEC = 20,
	ARENAS = 2, /* of malloc: few, for a small resident size */
};

/* What main() holds, in the order it is made; stop() undoes it. */
typedef struct Daemon {
	Config config;
	Agent *agent;
	Roles *roles;
	Server *server;
	MetricsHttp *metrics;
	bool started;
} Daemon;

static void log_finished(void *user, const ServerFinished *call)
{
	char message[ERROR_MESSAGE_MAX];
	const Error *err = call->err;
	LogLine line;

	(void)user;
	log_begin(&line, LOG_LEVEL_INFO, "rpc");
	log_text(&line, "method", call->method);
	log_text(&line, "vm_id", call->vm_id);
	log_text(&line, "principal", call->principal);
	log_text(&line, "trace_id", call->trace_id);
	log_text(&line, "request_id", call->request_id);
	log_text(&line, "code", status_code_name(call->grpc_code));
	log_number(&line, "usec", call->usec);
	if (err && error_is_set(err)) {
		log_text(&line, "kind", error_kind_name(err->kind));
		log_text(&line, "cause", error_cause_name(err->cause));
		log_text(&line, "error", error_message(err, message));
	}
	log_end(&line);
	audit_call(call);
	rpcs_note(call);
}

static void log_failure(const char *event, const Error *err)
{
	char message[ERROR_MESSAGE_MAX];
	LogLine line;

	log_begin(&line, LOG_LEVEL_ERROR, event);
	log_text(&line, "kind", error_kind_name(err->kind));
	log_text(&line, "error", error_message(err, message));
	log_end(&line);
}

static void log_refused(void *user, const char *address, const char *why, unsigned untold)
{
	LogLine line;

	(void)user;
	log_begin(&line, LOG_LEVEL_INFO, "tls refused");
	log_text(&line, "address", address);
	log_text(&line, "error", why);
	if (untold)
		log_number(&line, "untold", untold);
	log_end(&line);
}

static void log_reloaded(void *user, const Error *err)
{
	LogLine line;

	(void)user;
	if (err) {
		log_failure("tls files refused", err);
		return;
	}
	log_begin(&line, LOG_LEVEL_INFO, "tls files reloaded");
	log_end(&line);
}

static void log_swept(void *user, const Leftover *leftover)
{
	char message[ERROR_MESSAGE_MAX];
	LogLine line;

	(void)user;
	log_begin(&line, leftover->err ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO,
		  leftover->err ? "sweep failed" : "swept");
	log_text(&line, "instance", leftover->instance);
	if (leftover->err)
		log_text(&line, "error", error_message(leftover->err, message));
	log_end(&line);
}

static void log_event(const char *event)
{
	LogLine line;

	log_begin(&line, LOG_LEVEL_INFO, event);
	log_end(&line);
}

static void log_started(const Daemon *daemon, Runtime *runtime)
{
	const Config *config = &daemon->config;
	char addresses[512];
	char *at = addresses;
	LogLine line;

	addresses[0] = '\0';
	for (size_t i = 0; i < config->listen.count; i++) {
		unsigned port = server_port(daemon->server, (unsigned)i);
		const char *address = config->listen.items[i];
		/* The port that was picked, where any was asked for. */
		int keep = port ? (int)(strrchr(address, ':') - address) : (int)strlen(address);

		at = text_append(at, addresses + sizeof addresses, "%s%.*s", i ? "," : "", keep,
				 address);
		if (port)
			at = text_append(at, addresses + sizeof addresses, ":%u", port);
	}
	log_begin(&line, LOG_LEVEL_INFO, "started");
	log_text(&line, "version", HEARTH_VERSION);
	log_number(&line, "pid", getpid());
	log_text(&line, "node_id", config->node_id);
	log_text(&line, "listen", addresses);
	log_text(&line, "state_dir", config->state_dir);
	log_text(&line, "backend", config->backend);
	log_text(&line, "store_id", store_id(runtime_store(runtime)));
	log_end(&line);
}

/* Threads inherit the mask, so that only main() takes these, by sigwait(). */
static void block_signals(sigset_t *waited)
{
	(void)sigemptyset(waited);
	(void)sigaddset(waited, SIGTERM);
	(void)sigaddset(waited, SIGINT);
	(void)pthread_sigmask(SIG_BLOCK, waited, NULL);
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is a full disk */
}

static void exit_at_once(int signal)
{
	_exit(128 + signal);
}

static void unblock_signals(const sigset_t *waited)
{
	(void)signal(SIGTERM, exit_at_once);
	(void)signal(SIGINT, exit_at_once);
	(void)pthread_sigmask(SIG_UNBLOCK, waited, NULL);
}

static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* Directories of sockets, such as /run/hearth. */
static int make_socket_dirs(const Config *config, Error *err)
{
	for (size_t i = 0; i < config->listen.count; i++) {
		cleanup_free char *path = NULL;
		const char *directory;
		int r;

		if (strncmp(config->listen.items[i], "unix:", 5) != 0)
			continue;
		path = text_dup(config->listen.items[i] + 5);
		directory = dirname(path);
		if (access(directory, F_OK) == 0)
			continue;
		r = file_make_dirs(directory);
		if (r < 0)
			return error_set_errno(err, ERROR_INVALID_REQUEST, -r, "make directory %s",
					       directory);
	}
	return 0;
}

static int start_server(Daemon *daemon, Error *err)
{
	const Config *config = &daemon->config;
	const ServerConfig server = {
		.user = daemon->agent,
		.pollers = (unsigned)config->pollers,
		.max_message = (unsigned)config->message_bytes,
		.max_connections = (unsigned)config->max_connections,
		.max_calls = (unsigned)config->max_calls,
		.max_streams_per_connection = (unsigned)config->max_streams,
		.roles = daemon->roles,
		.tls = config_tls(config),
		.refused = log_refused,
		.reloaded = log_reloaded,
		.finished = log_finished,
	};

	if (server_new(&daemon->server, &server, err) < 0)
		return -1;
	server_add_service(daemon->server, &vm_service.base);
	server_add_service(daemon->server, &node_service.base);
	server_add_service(daemon->server, &egress_service.base);
	server_add_service(daemon->server, &image_service.base);
	server_add_service(daemon->server, &snapshot_service.base);
	server_add_service(daemon->server, &guest_service.base);
	server_inspect(daemon->server, "/hearth.v1.VmService/CreateVm", inspect_create);
	if (make_socket_dirs(config, err) < 0)
		return -1;
	for (size_t i = 0; i < config->listen.count; i++)
		if (server_listen(daemon->server, config->listen.items[i], err) < 0)
			return -1;
	if (server_start(daemon->server, err) < 0)
		return -1;
	daemon->started = true;
	return 0;
}

/* The last of the range is for probes. */
static JailConfig jail_settings(const Config *config)
{
	bool on = strcmp(config->jailer_mode, "on") == 0;

	return (JailConfig){
		.jailer_path = on ? config->jailer_binary : NULL,
		.dir = config->jailer_dir,
		.probe_uid = (uint32_t)(config->jailer_first_uid + config->jailer_uid_count - 1),
	};
}

static Launcher *make_launcher(const Config *config)
{
	const LauncherConfig launcher = {
		.wanted = config->launcher,
		.parent = config->jailer_cgroup,
		.keeper_path = config->keeper,
		.in_pod = launcher_in_pod(),
	};

	return launcher_new(&launcher);
}

static int open_runtime(Daemon *daemon, Error *err)
{
	const Config *config = &daemon->config;
	RuntimeConfig settings = {
		.state_dir = config->state_dir,
		.node_id = config->node_id,
		.default_backend = vm_backend_from_name(config->backend),
		.backend = {
			.keeper_path = config->keeper,
			.qemu_path = config->qemu_binary,
			.firecracker_path = config->firecracker_binary,
			.accelerator = config->qemu_accelerator,
			.console_max_bytes = config->console_max_bytes,
			.console_rate = config->console_rate_bytes,
			.jail = jail_settings(config),
			.image_dirs = config->image_dirs,
		},
		.first_uid = (uint32_t)config->jailer_first_uid,
		.uid_count = (uint32_t)config->jailer_uid_count - 1,
		.has_network = strcmp(config->network_mode, "off") != 0,
		.max_vms = (uint32_t)config->max_vms,
		.cpus = daemon->agent->cpus,
		.cpu_percent = config->capacity_cpu_percent,
		.memory_percent = config->capacity_memory_percent,
		.reserved_memory_mib = config->capacity_reserved_memory_mib,
		.reserved_disk_mib = config->capacity_reserved_disk_mib,
		.templates_mib = config->templates_max_mib,
		.template_mib = config->templates_max_image_mib,
		.max_operations = (uint32_t)config->max_operations,
		.max_restarts = (uint32_t)config->max_restarts,
		.history = (uint32_t)config->history,
		.swept = log_swept,
	};
	Runtime *runtime = NULL;

	settings.launcher = daemon->agent->launcher = make_launcher(config);
	settings.backend.launcher = settings.launcher;
	settings.backend.jail.group = launcher_parent(settings.launcher);
	if (config_network(config, &settings.network, err) < 0 ||
	    runtime_open(&runtime, &settings, err) < 0)
		return -1;
	atomic_store_explicit(&daemon->agent->runtime, runtime, memory_order_release);
	node_form_free(node_form_new(daemon->agent, runtime)); /* conditions hold from now on */
	server_set_serving(daemon->server, true);
	log_started(daemon, runtime);
	return 0;
}

static char *make_page(void *user, size_t *length)
{
	Daemon *daemon = user;
	const char *vms = daemon->config.metrics_vms;

	return metrics_page(daemon->agent,
			    strcmp(vms, "none") == 0  ? METRICS_VMS_NONE
			    : strcmp(vms, "all") == 0 ? METRICS_VMS_ALL
						      : METRICS_VMS_USAGE,
			    length);
}

static int start_metrics(Daemon *daemon, Error *err)
{
	const MetricsHttpConfig config = {
		.address = daemon->config.metrics_listen,
		.page = make_page,
		.user = daemon,
	};

	return strcmp(config.address, "none") == 0
		       ? 0
		       : metrics_http_new(&daemon->metrics, &config, err);
}

/* Also of what was only half started. */
static void stop(Daemon *daemon)
{
	int64_t grace = (int64_t)daemon->config.drain_timeout * USEC_PER_SEC;
	Runtime *runtime = daemon->agent ? atomic_load(&daemon->agent->runtime) : NULL;

	metrics_http_free(take_ptr(daemon->metrics));
	if (runtime)
		runtime_leave_guests(runtime);
	if (daemon->started)
		server_stop(daemon->server, runtime ? grace : 0);
	if (runtime && !runtime_close(runtime, grace)) {
		log_event("operations still run; the next agent carries them on");
		_exit(EXIT_SUCCESS);
	}
	if (daemon->server)
		server_free(daemon->server);
	roles_free(daemon->roles);
	if (daemon->agent)
		agent_free(daemon->agent);
	config_clear(&daemon->config);
}

/* Until a signal ends it. A condition of the node has its time from whoever looks first: so
 * somebody does. */
static void wait_for_end(const Daemon *daemon, const sigset_t *waited)
{
	static const struct timespec look = { .tv_sec = 1 };
	Runtime *runtime = atomic_load(&daemon->agent->runtime);
	uint64_t seen = 0;

	while (sigtimedwait(waited, NULL, &look) < 0) {
		uint64_t version = registry_node_version(runtime_registry(runtime));

		if (version != seen)
			node_form_free(node_form_new(daemon->agent, runtime));
		seen = version;
		alive_tell(daemon->agent->loop, daemon->server);
	}
}

/* Who may come in, and what is written of what they do. */
static int open_gates(Daemon *daemon, Error *err)
{
	const char *audit = daemon->config.audit_file;

	if (config_roles(&daemon->config, &daemon->roles, err) < 0)
		return -1;
	return strcmp(audit, "none") == 0 ? 0 : audit_open(audit, err);
}

/* Calls and operations have drain_timeout each; then it takes a moment. */
static void tell_stopping(const Daemon *daemon)
{
	cleanup_free char *state = text_printf(
		"STOPPING=1\nSTATUS=waiting for calls to end\nEXTEND_TIMEOUT_USEC=%" PRIu64,
		(2 * daemon->config.drain_timeout + STOP_SEC) * USEC_PER_SEC);

	notify(state);
}

static int serve(Daemon *daemon, const sigset_t *waited)
{
	Error err = { 0 };

	notify("STATUS=opening the store");
	if (open_gates(daemon, &err) < 0 || agent_new(&daemon->agent, &daemon->config, &err) < 0 ||
	    start_server(daemon, &err) < 0 || start_metrics(daemon, &err) < 0 ||
	    open_runtime(daemon, &err) < 0) {
		log_failure("start failed", &err);
		unblock_signals(waited);
		stop(daemon);
		return EXIT_FAILURE;
	}
	notify("READY=1\nSTATUS=serving");
	wait_for_end(daemon, waited);
	tell_stopping(daemon);
	log_event("stopping");
	unblock_signals(waited);
	stop(daemon);
	log_event("stopped");
	return EXIT_SUCCESS;
}

static void log_rebuilt(void *user, const char *vm_id, const char *what)
{
	LogLine line;

	(void)user;
	log_begin(&line, LOG_LEVEL_INFO, "rebuild");
	log_text(&line, "vm_id", vm_id);
	log_text(&line, "what", what);
	log_end(&line);
}

/* What runs is adopted by the start that follows. */
static int rebuild(Daemon *daemon)
{
	const RebuildSink sink = { .say = log_rebuilt };
	Error err = { 0 };
	int r = runtime_rebuild(daemon->config.state_dir, &sink, &err);

	if (r < 0)
		log_failure("rebuild failed", &err);
	else
		log_event("rebuilt");
	config_clear(&daemon->config);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char *argv[])
{
	Daemon daemon = { .started = false };
	ConfigAction action = CONFIG_RUN;
	Error err = { 0 };
	sigset_t waited;

	(void)mallopt(M_ARENA_MAX, ARENAS);
	if (config_read(&daemon.config, &action, argc, argv, &err) < 0) {
		(void)fprintf(stderr, "hearthd: %s\n", err.what);
		config_clear(&daemon.config);
		return EXIT_USAGE;
	}
	log_init(text_equal(daemon.config.log_format, "json"), daemon.config.log_level);
	if (action == CONFIG_REBUILD)
		return rebuild(&daemon);
	if (action == CONFIG_RUN) {
		notify_open();
		block_signals(&waited);
		raise_descriptor_limit();
		return serve(&daemon, &waited);
	}
	if (action == CONFIG_HELP)
		config_print_help(stdout);
	if (action == CONFIG_VERSION)
		(void)puts("hearthd " HEARTH_VERSION);
	config_clear(&daemon.config);
	return EXIT_SUCCESS;
}
