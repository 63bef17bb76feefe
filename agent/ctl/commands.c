/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/ctl.h"

/*
 * Every command and every option, once: parsing, help and completion read
 * these tables.
 */

/* clang-format off */
const Option global_options[] = {
	{ "address", OPTION_TEXT, 'a', .value = "ADDRESS",
	  .help = "where hearthd listens: unix:PATH or HOST:PORT (default: $HEARTH_ADDRESS, or unix:/run/hearth/hearth.sock)" },
	{ "tls-ca", OPTION_TEXT, 0, .value = "FILE",
	  .help = "speak TLS with a hearthd whose certificate these authorities gave, in PEM (default: $HEARTH_TLS_CA)" },
	{ "tls-certificate", OPTION_TEXT, 0, .value = "FILE",
	  .help = "the client's certificate, in PEM (default: $HEARTH_TLS_CERTIFICATE)" },
	{ "tls-key", OPTION_TEXT, 0, .value = "FILE", .help = "its key (default: $HEARTH_TLS_KEY)" },
	{ "tls-server-name", OPTION_TEXT, 0, .value = "NAME",
	  .help = "what hearthd's certificate is for, if not for ADDRESS (default: $HEARTH_TLS_SERVER_NAME)" },
	{ "output", OPTION_CHOICE, 'o', .value = "FORMAT", .choices = "table|wide|json|name",
	  .help = "how to print" },
	{ "timeout", OPTION_DURATION, 0, .value = "DURATION",
	  .help = "how long to wait for an answer (default: 60s; streams, wait and --return ready: for ever)" },
	{ "help", OPTION_FLAG, 'h', .help = "what the command does and takes" },
	{ 0 },
};

#define GUARD_OPTIONS                                                                               \
	{ "expected-uid", OPTION_TEXT, 0, .value = "UID", .help = "only if this is still its uid" },    \
	{ "expected-revision", OPTION_NUMBER, 0, .value = "N", .help = "only if nothing changed since" }, \
	{ "expected-generation", OPTION_NUMBER, 0, .value = "N",                                        \
	  .help = "only if its spec has not changed since" },                                           \
	{ "validate-only", OPTION_FLAG, 0, .help = "check, change nothing, show what would be" }

#define RETURN_OPTION                                                                               \
	{ "return", OPTION_ENUM, 0, .value = "WHEN", .names = &hearth__v1__return_when__descriptor,     \
	  .help = "when to answer; ready: once the VM's condition Ready is true (default: done)" }

#define POLICY_OPTIONS                                                                              \
	{ "label", OPTION_TEXT, 'l', .many = true, .value = "KEY=VALUE", .help = "a label; in update, KEY- takes one away" },    \
	{ "restart", OPTION_ENUM, 0, .value = "MODE", .names = &hearth__v1__restart_mode__descriptor,   \
	  .help = "when to restart it" },                                                               \
	{ "max-restarts", OPTION_NUMBER, 0, .value = "N", .help = "restarts in a row before it stays failed" }, \
	{ "initial-backoff", OPTION_DURATION, 0, .value = "DURATION", .help = "wait before the first restart" }, \
	{ "max-backoff", OPTION_DURATION, 0, .value = "DURATION", .help = "the longest wait" },         \
	{ "expires-in", OPTION_DURATION, 0, .value = "DURATION", .help = "end it after this long" },    \
	{ "expires-at", OPTION_TEXT, 0, .value = "TIME", .help = "end it then, such as 2026-12-31T18:00:00Z" }, \
	{ "expire-action", OPTION_ENUM, 0, .value = "ACTION",                                           \
	  .names = &hearth__v1__expire_action__descriptor, .help = "how to end it (default: stop)" }

#define DEVICE_OPTIONS                                                                              \
	{ "balloon", OPTION_NUMBER, 0, .value = "MIB", .help = "how much memory the balloon is to take" }, \
	{ "mmds", OPTION_PATH, 0, .value = "FILE", .help = "the metadata, a JSON object ('-': standard input)" }

#define ALLOW_OPTION                                                                                \
	{ "allow", OPTION_TEXT, 0, .many = true, .value = "RULE",                                       \
	  .help = "allow CIDR[:PROTOCOL[/PORT[-END]]], such as 10.0.0.0/8:tcp/443; in place of CIDR a name or 'any'" }

#define SELECTOR_OPTIONS                                                                            \
	{ "selector", OPTION_TEXT, 'l', .value = "SELECTOR",                                            \
	  .help = "only VMs with these labels, such as 'a=b,c!=d,e in (f,g),!k'" },                     \
	{ "tenant", OPTION_TEXT, 0, .value = "TENANT", .help = "only this tenant's" }

static const Option create_options[] = {
	{ "file", OPTION_PATH, 'f', .value = "FILE",
	  .help = "the spec as JSON ('-': standard input); options change what it says" },
	{ "kernel", OPTION_PATH, 0, .value = "PATH", .help = "kernel image on the node" },
	{ "initrd", OPTION_PATH, 0, .value = "PATH", .help = "initial RAM disk on the node" },
	{ "args", OPTION_TEXT, 0, .value = "TEXT", .help = "kernel command line" },
	{ "vcpus", OPTION_NUMBER, 0, .value = "N", .help = "virtual CPUs (default: 1)" },
	{ "memory", OPTION_NUMBER, 'm', .value = "MIB", .help = "guest memory in MiB (default: 128)" },
	{ "smt", OPTION_FLAG, 0, .help = "show the virtual CPUs as pairs of threads" },
	{ "track-dirty-pages", OPTION_FLAG, 0, .help = "note which pages are written, for snapshots of what has changed (firecracker)" },
	{ "huge-pages", OPTION_ENUM, 0, .value = "PAGES", .names = &hearth__v1__huge_pages__descriptor,
	  .help = "what backs the guest's memory (default: none)" },
	{ "cpu-template", OPTION_ENUM, 0, .value = "NAME", .names = &hearth__v1__cpu_template__descriptor,
	  .help = "hide what other CPUs than these lack" },
	{ "cpu-config", OPTION_PATH, 0, .value = "FILE",
	  .help = "a CPU template of one's own, a JSON object ('-': standard input)" },
	{ "drive", OPTION_TEXT, 0, .many = true, .value = "DRIVE",
	  .help = "a disk: path=PATH or template=TEMPLATE[,size=MIB], then [,id=NAME][,root][,ro][,cache=unsafe|writeback][,io=sync|async][,bw=RATE][,ops=RATE]" },
	{ "interface", OPTION_TEXT, 0, .many = true, .value = "INTERFACE",
	  .help = "a network card: id=NAME[,mac=MAC][,mtu=N][,ip=ADDRESS][,ip6=ADDRESS][,mmds][,rx-bw=RATE][,rx-ops=RATE][,tx-bw=RATE][,tx-ops=RATE]; with --restore one of the snapshot's: id, ip, ip6" },
	{ "vsock", OPTION_NUMBER, 0, .value = "CID", .help = "sockets between host and guest, whose address is CID; 0: the agent's choice" },
	DEVICE_OPTIONS,
	{ "cpu-limit", OPTION_TEXT, 0, .value = "CPUS", .help = "at most so many CPUs of the host, such as 1.5" },
	{ "memory-limit", OPTION_NUMBER, 0, .value = "MIB", .help = "at most so much memory of the host" },
	{ "pids-limit", OPTION_NUMBER, 0, .value = "N", .help = "at most so many processes and threads" },
	{ "egress-file", OPTION_PATH, 0, .value = "FILE",
	  .help = "what it may reach: a policy as YAML or JSON ('-': standard input); the default is nothing" },
	ALLOW_OPTION,
	{ "guest-agent", OPTION_ENUM, 0, .value = "WHAT", .names = &hearth__v1__guest_agent__descriptor,
	  .help = "what is expected of hearth-guest; required: Ready waits for it and all secrets (default: none, or with --secret optional)" },
	{ "secret", OPTION_TEXT, 0, .many = true, .value = "NAME",
	  .help = "a secret that 'hearthctl secret set' will bring, after each boot" },
	{ "backend", OPTION_ENUM, 0, .value = "BACKEND", .names = &hearth__v1__backend__descriptor,
	  .help = "what runs it (default: the node's)" },
	{ "restore", OPTION_TEXT, 0, .value = "VM/SNAPSHOT", .help = "go on from a snapshot instead of booting; it has the machine, drives and interfaces" },
	{ "memory-backend", OPTION_ENUM, 0, .value = "HOW", .names = &hearth__v1__memory_backend__descriptor,
	  .help = "where the guest's memory comes from (default: file); with --restore" },
	{ "shared-identity", OPTION_FLAG, 0, .help = "its guest keeps the snapshot's random numbers, clock and addresses" },
	{ "start", OPTION_FLAG, 0, .help = "start it at once" },
	POLICY_OPTIONS,
	{ "tenant", OPTION_TEXT, 0, .value = "TENANT", .help = "whose it is" },
	{ "uid", OPTION_TEXT, 0, .value = "UID", .help = "this incarnation's name (default: made)" },
	{ "validate-only", OPTION_FLAG, 0, .help = "check, change nothing, show what would be" },
	RETURN_OPTION,
	{ 0 },
};

static const Option verb_options[] = { GUARD_OPTIONS, RETURN_OPTION, { 0 } };

static const Option stop_options[] = {
	{ "force", OPTION_FLAG, 0, .help = "kill it at once" },
	{ "guest-grace", OPTION_DURATION, 0, .value = "DURATION",
	  .help = "how long the guest has after hearth-guest was asked (default: 10s; 0s: it is not asked)" },
	{ "grace", OPTION_DURATION, 0, .value = "DURATION",
	  .help = "how long the guest has after its power button (default: 10s; 0s: it is not pressed)" },
	{ "terminate-grace", OPTION_DURATION, 0, .value = "DURATION",
	  .help = "how long its VMM has after SIGTERM (default: 5s)" },
	GUARD_OPTIONS, RETURN_OPTION,
	{ 0 },
};

static const Option destroy_options[] = {
	{ "allow-missing", OPTION_FLAG, 0, .help = "that there is no such VM is fine" },
	GUARD_OPTIONS, RETURN_OPTION,
	{ 0 },
};

static const Option update_options[] = {
	POLICY_OPTIONS,
	{ "no-expiry", OPTION_FLAG, 0, .help = "never end it" },
	DEVICE_OPTIONS,
	{ "drive", OPTION_TEXT, 0, .many = true, .value = "id=NAME,path=PATH", .help = "another disk for the drive of that name" },
	{ "file", OPTION_PATH, 'f', .value = "FILE",
	  .help = "a spec as JSON ('-': standard input), of which --mask names what is to be taken" },
	{ "mask", OPTION_TEXT, 0, .value = "NAME,...", .help = "such as drives,devices.mmds; only with --file" },
	GUARD_OPTIONS,
	{ 0 },
};

static const Option get_options[] = {
	{ "expected-uid", OPTION_TEXT, 0, .value = "UID", .help = "only if this is still its uid" },
	{ 0 },
};

static const Option list_options[] = {
	SELECTOR_OPTIONS,
	{ "state", OPTION_ENUM, 's', .many = true, .value = "STATE,...", .help = "only VMs in these states",
	  .names = &hearth__v1__vm_state__descriptor },
	{ "watch", OPTION_FLAG, 'w', .help = "then go on with changes" },
	{ 0 },
};

static const Option watch_options[] = {
	SELECTOR_OPTIONS,
	{ "initial", OPTION_FLAG, 'i', .help = "begin with every VM there is" },
	{ "from-revision", OPTION_NUMBER, 0, .value = "N", .help = "begin after this revision; needs --store-id" },
	{ "store-id", OPTION_TEXT, 0, .value = "ID", .help = "the store that the revision is of" },
	{ 0 },
};

static const Option wait_options[] = {
	{ "state", OPTION_ENUM, 's', .many = true, .value = "STATE,...", .help = "until it is in one of these states",
	  .names = &hearth__v1__vm_state__descriptor },
	{ "condition", OPTION_TEXT, 'c', .value = "CONDITION", .help = "until this condition is true, such as Ready" },
	{ "expected-uid", OPTION_TEXT, 0, .value = "UID", .help = "only if this is still its uid" },
	{ 0 },
};

static const Option events_options[] = {
	{ "uid", OPTION_TEXT, 0, .value = "UID", .help = "only this incarnation's" },
	{ 0 },
};

static const Option console_options[] = {
	{ "follow", OPTION_FLAG, 'f', .help = "go on with what comes, until the VM is destroyed" },
	{ "tail", OPTION_NUMBER, 0, .value = "BYTES", .help = "begin with at most this much of the end" },
	{ "vmm", OPTION_FLAG, 0, .help = "what its VMM says of itself instead" },
	{ "expected-uid", OPTION_TEXT, 0, .value = "UID", .help = "only if this is still its uid" },
	{ 0 },
};

static const Option metrics_options[] = {
	{ "cached", OPTION_FLAG, 0, .help = "what its VMM told last (it does each minute); do not ask it to tell now" },
	{ "filter", OPTION_TEXT, 0, .value = "PREFIX", .help = "only metrics whose names begin so, such as 'block.'" },
	{ "expected-uid", OPTION_TEXT, 0, .value = "UID", .help = "only if this is still its uid" },
	{ 0 },
};

#define QUESTION_OPTIONS                                                                            \
	{ "wait", OPTION_DURATION, 0, .value = "DURATION",                                              \
	  .help = "how long to wait for hearth-guest (default: 5s)" },                                  \
	{ "expected-uid", OPTION_TEXT, 0, .value = "UID", .help = "only if this is still its uid" }

static const Option question_options[] = { QUESTION_OPTIONS, { 0 } };

static const Option env_set_options[] = {
	{ "replace", OPTION_FLAG, 0, .help = "nothing that was set before stays" },
	QUESTION_OPTIONS,
	{ 0 },
};

static const Option secret_set_options[] = {
	{ "file", OPTION_PATH, 'f', .value = "FILE", .help = "what holds its value (default, and '-': standard input)" },
	QUESTION_OPTIONS,
	{ 0 },
};

static const Option exec_options[] = {
	{ "stdin", OPTION_FLAG, 'i', .help = "it reads hearthctl's standard input; else nothing" },
	{ "tty", OPTION_FLAG, 't', .help = "it gets a terminal, which is hearthctl's own; with -i" },
	{ "dir", OPTION_TEXT, 'C', .value = "PATH", .help = "where it runs (default: /)" },
	{ "user", OPTION_TEXT, 'u', .value = "USER", .help = "a name or number in the guest (default: root)" },
	{ "env", OPTION_TEXT, 'e', .many = true, .value = "NAME=VALUE", .help = "a variable of its environment" },
	{ "limit", OPTION_DURATION, 0, .value = "DURATION", .help = "kill it after so long (default: never)" },
	{ "exec-id", OPTION_TEXT, 0, .value = "ID",
	  .help = "this request's name, of which the VM takes no second one (default: made)" },
	{ "expected-uid", OPTION_TEXT, 0, .value = "UID", .help = "only if this is still its uid" },
	{ 0 },
};

static const Option egress_set_options[] = {
	{ "file", OPTION_PATH, 'f', .value = "FILE", .help = "the policy as YAML or JSON ('-': standard input)" },
	ALLOW_OPTION,
	{ "nothing", OPTION_FLAG, 0, .help = "allow nothing" },
	GUARD_OPTIONS,
	{ 0 },
};

static const Option egress_explain_options[] = {
	{ "protocol", OPTION_ENUM, 0, .value = "PROTOCOL", .names = &hearth__v1__protocol__descriptor,
	  .help = "of the packet (default: tcp)" },
	{ "port", OPTION_NUMBER, 'p', .value = "PORT", .help = "where it goes; not with icmp" },
	{ "direction", OPTION_ENUM, 0, .value = "DIRECTION", .names = &hearth__v1__direction__descriptor,
	  .help = "whose packet it is (default: from-vm)" },
	{ "expected-uid", OPTION_TEXT, 0, .value = "UID", .help = "only if this is still its uid" },
	{ 0 },
};

static const Option egress_watch_options[] = {
	{ "tenant", OPTION_TEXT, 0, .value = "TENANT", .help = "only this tenant's" },
	{ 0 },
};

static const Option snapshot_create_options[] = {
	{ "parent", OPTION_TEXT, 0, .value = "SNAPSHOT",
	  .help = "a diff: of memory only what was written since this one, the last of the VM's run (firecracker, --track-dirty-pages)" },
	{ "then", OPTION_ENUM, 0, .value = "WHAT", .names = &hearth__v1__snapshot_then__descriptor,
	  .help = "what becomes of the VM (default: what it was)" },
	{ "label", OPTION_TEXT, 'l', .many = true, .value = "KEY=VALUE", .help = "a label of the snapshot" },
	GUARD_OPTIONS, RETURN_OPTION,
	{ 0 },
};

static const Option snapshot_list_options[] = {
	{ "tenant", OPTION_TEXT, 0, .value = "TENANT", .help = "only this tenant's" },
	{ 0 },
};

static const Option snapshot_verify_options[] = {
	{ "if-changed", OPTION_FLAG, 0, .help = "only files that were changed since they were read last" },
	{ 0 },
};

static const Option snapshot_delete_options[] = {
	{ "allow-missing", OPTION_FLAG, 0, .help = "that there is no such snapshot is fine" },
	{ 0 },
};

static const Option template_import_options[] = {
	{ "sha256", OPTION_TEXT, 0, .value = "DIGEST", .help = "what the image must have (default: any)" },
	{ "reference", OPTION_TEXT, 0, .value = "NAME", .help = "which image of an OCI archive that has several" },
	{ "size", OPTION_NUMBER, 0, .value = "MIB", .help = "of the disk made of an OCI image (default: its contents and more)" },
	{ 0 },
};

static const Option template_verify_options[] = {
	{ "if-changed", OPTION_FLAG, 0, .help = "only if it was changed since it was read last" },
	{ 0 },
};

static const Option template_delete_options[] = {
	{ "allow-missing", OPTION_FLAG, 0, .help = "that there is no such template is fine" },
	{ 0 },
};

static const Option cordon_options[] = {
	{ "reason", OPTION_TEXT, 0, .value = "TEXT", .help = "why, for people" },
	{ "validate-only", OPTION_FLAG, 0, .help = "check, change nothing" },
	{ 0 },
};

static const Option drain_options[] = {
	{ "action", OPTION_ENUM, 0, .value = "ACTION", .names = &hearth__v1__drain_action__descriptor,
	  .help = "what becomes of VMs" },
	{ "selector", OPTION_TEXT, 'l', .value = "SELECTOR", .help = "only VMs with such labels" },
	{ "tenant", OPTION_TEXT, 0, .value = "TENANT", .help = "only this tenant's" },
	{ "grace", OPTION_DURATION, 0, .value = "DURATION",
	  .help = "how long guests have from their power button on (default: 10s; 0s: none)" },
	{ "reason", OPTION_TEXT, 0, .value = "TEXT", .help = "why, for people" },
	{ "validate-only", OPTION_FLAG, 0, .help = "only count the VMs that would end" },
	{ 0 },
};

static const Option uncordon_options[] = {
	{ "validate-only", OPTION_FLAG, 0, .help = "check, change nothing" },
	{ 0 },
};

static const Option version_options[] = {
	{ "client", OPTION_FLAG, 0, .help = "do not ask the agent" },
	{ 0 },
};

const Command commands[] = {
	{ "create", "VM", "record a VM, and start it if asked", run_create, create_options, TAKES_OTHER, 1, 1,
	  "The same request again answers the VM as it is.\n\n"
	  "  hearthctl create web-1 --kernel /boot/vmlinuz --initrd /srv/initrd --args console=ttyS0 --start\n"
	  "  hearthctl create web-2 --kernel /boot/vmlinux --drive path=/srv/web.img,root,bw=10m/1s+50m,ops=1000/1s\n\n"
	  "A RATE is AMOUNT/DURATION[+BURST]: bytes (k, m and g are powers of 1024) or operations; BURST is on top, once.\n" },
	{ "start", "VM...", "boot VMs", run_start, verb_options, TAKES_VM, 1, ARGUMENTS_MANY, NULL },
	{ "stop", "VM...", "stop VMs: hearth-guest, power button, SIGTERM, SIGKILL", run_stop, stop_options, TAKES_VM, 1, ARGUMENTS_MANY, NULL },
	{ "pause", "VM...", "hold VMs' virtual CPUs", run_pause, verb_options, TAKES_VM, 1, ARGUMENTS_MANY, NULL },
	{ "resume", "VM...", "let paused VMs go on", run_resume, verb_options, TAKES_VM, 1, ARGUMENTS_MANY, NULL },
	{ "destroy", "VM...", "end VMs at once and remove all they left", run_destroy, destroy_options, TAKES_VM, 1, ARGUMENTS_MANY, NULL },
	{ "update", "VM", "change a VM, also while it runs", run_update, update_options, TAKES_VM, 1, 1,
	  "  hearthctl update web-1 --label tier=front --label old- --restart on-failure\n"
	  "  hearthctl update web-1 --drive id=data,path=/srv/data-2.img --balloon 64\n" },
	{ "get", "VM...", "show VMs", run_get, get_options, TAKES_VM, 1, ARGUMENTS_MANY, NULL },
	{ "describe", "VM", "tell all about a VM, with its latest events", run_describe, get_options, TAKES_VM, 1, 1, NULL },
	{ "diagnose", "VM", "all there is to know of a VM, to find out what is wrong with it", run_diagnose, get_options, TAKES_VM, 1, 1,
	  "With the ends of its console and of its VMM's words; -o json for a report.\n" },
	{ "list", "", "list VMs", run_list, list_options, TAKES_NOTHING, 0, 0, NULL },
	{ "watch", "[VM...]", "follow changes of VMs", run_watch, watch_options, TAKES_VM, 0, 100, NULL },
	{ "wait", "VM", "wait until a VM has been in a state or met a condition", run_wait, wait_options, TAKES_VM, 1, 1,
	  "Also a state that lasted only a moment counts, from when the call began.\n\n"
	  "  hearthctl wait web-1 --state running --timeout 30s\n" },
	{ "events", "VM", "what happened to a VM, also to one destroyed", run_events, events_options, TAKES_VM, 1, 1, NULL },
	{ "console", "VM", "what the guest wrote to its serial port", run_console, console_options, TAKES_VM, 1, 1, NULL },
	{ "metrics", "VM", "what a VM's VMM counts and uses of the host", run_metrics, metrics_options, TAKES_VM, 1, 1,
	  "Counters count since the VMM was started.\n\n"
	  "  hearthctl metrics web-1 --filter vcpu.\n" },
	{ "exec", "VM -- PROGRAM [ARGUMENT...]", "run a program in the guest", run_exec, exec_options, TAKES_VM, 2, 257,
	  "Needs hearth-guest in the guest. Shows what the program writes as it comes. With -it it gets what is typed,\n"
	  "Ctrl-C as well; without -t it gets SIGINT and SIGTERM, but the second one ends hearthctl. If hearthctl ends\n"
	  "first, or the connection breaks on its side, the program is killed.\n\n"
	  "Exits as the program did: with its code, or 128 and the signal's number. If the call failed it exits as\n"
	  "'hearthctl help exit-codes' says, and tells why on standard error.\n\n"
	  "  hearthctl exec web-1 -- uname -a\n"
	  "  hearthctl exec web-1 -i -- sh -c 'cat > /tmp/file' < file\n"
	  "  hearthctl exec web-1 -it -- sh\n" },
	{ "ping", "VM", "does hearth-guest answer in the guest", run_ping, question_options, TAKES_VM, 1, 1, NULL },
	{ "env set", "VM [NAME=VALUE...]", "set variables for programs in the guest", run_env_set, env_set_options, TAKES_VM, 1, ARGUMENTS_MANY,
	  "Until the guest's next boot; for programs that begin from now on. In the guest: /run/hearth/env.\n\n"
	  "  hearthctl env set web-1 LANG=C.UTF-8 WORKERS=4\n"
	  "  hearthctl env set web-1 --replace\n" },
	{ "secret set", "VM NAME", "write a secret to a file of the guest", run_secret_set, secret_set_options, TAKES_VM, 2, 2,
	  "Up to 16384 bytes, as they are, newlines as well; until the guest's next boot. In the guest:\n"
	  "/run/hearth/secrets/NAME. It need not be one that 'create --secret' named.\n\n"
	  "  hearthctl secret set web-1 tls.key -f server.key\n"
	  "  pass show web/token | hearthctl secret set web-1 token --wait 60s\n" },
	{ "secret remove", "VM NAME", "remove a secret from the guest", run_secret_remove, question_options, TAKES_VM, 2, 2, NULL },
	{ "egress get", "VM", "what a VM may reach, and what became of packets", run_egress_get, get_options, TAKES_VM, 1, 1, NULL },
	{ "egress set", "VM", "say what a VM may reach, also while it runs", run_egress_set, egress_set_options, TAKES_VM, 1, 1,
	  "Replaces the whole policy; answers once it is enforced.\n\n"
	  "  hearthctl egress set web-1 --allow any:udp/53 --allow 10.0.0.0/8:tcp/443 --allow 2001:db8::/32\n"
	  "  hearthctl egress set web-1 --file policy.yaml\n" },
	{ "egress explain", "VM ADDRESS", "would a packet pass, and why", run_egress_explain, egress_explain_options, TAKES_VM, 2, 2,
	  "  hearthctl egress explain web-1 203.0.113.9 --port 443\n" },
	{ "egress watch", "[VM]", "follow packets that are denied", run_egress_watch, egress_watch_options, TAKES_VM, 0, 1,
	  "UNTOLD counts packets of the VM that were denied meanwhile and are not told of.\n" },
	{ "snapshot create", "VM SNAPSHOT", "keep all that a VM is, to go on from there", run_snapshot_create, snapshot_create_options, TAKES_OTHER, 2, 2,
	  "  hearthctl snapshot create web-1 warm\n"
	  "  hearthctl snapshot create web-1 later --parent warm   # of memory what was written since\n"
	  "  hearthctl create web-2 --restore web-1/warm --start\n" },
	{ "snapshot list", "[VM]", "list snapshots", run_snapshot_list, snapshot_list_options, TAKES_VM, 0, 1, NULL },
	{ "snapshot watch", "[VM]", "show snapshots, and whenever one changes", run_snapshot_watch, snapshot_list_options, TAKES_VM, 0, 1, NULL },
	{ "snapshot get", "VM SNAPSHOT", "show a snapshot", run_snapshot_get, NULL, TAKES_OTHER, 2, 2, NULL },
	{ "snapshot flatten", "VM SNAPSHOT", "make a full snapshot of a diff", run_snapshot_flatten, NULL, TAKES_OTHER, 2, 2, NULL },
	{ "snapshot verify", "VM SNAPSHOT", "read a snapshot: is it what it was", run_snapshot_verify, snapshot_verify_options, TAKES_OTHER, 2, 2, NULL },
	{ "snapshot delete", "VM SNAPSHOT", "delete a snapshot that no VM was restored from", run_snapshot_delete, snapshot_delete_options, TAKES_OTHER, 2, 2, NULL },
	{ "template import", "TEMPLATE PATH", "make a disk image or OCI image of the node a template", run_template_import, template_import_options, TAKES_OTHER, 2, 2,
	  "Of which VMs get copies as their drives. The same import again, with --sha256, answers what is there.\n\n"
	  "  hearthctl template import debian /srv/images/debian.raw\n"
	  "  hearthctl create web-1 --kernel /boot/vmlinux --drive template=debian,size=8192,root --start\n" },
	{ "template list", "", "list templates", run_template_list, NULL, TAKES_NOTHING, 0, 0, NULL },
	{ "template get", "TEMPLATE", "show a template", run_template_get, NULL, TAKES_OTHER, 1, 1, NULL },
	{ "template verify", "TEMPLATE", "read a template's image: is it what it was", run_template_verify, template_verify_options, TAKES_OTHER, 1, 1, NULL },
	{ "template delete", "TEMPLATE...", "delete templates that no VM's drive is made of", run_template_delete, template_delete_options, TAKES_OTHER, 1, ARGUMENTS_MANY, NULL },
	{ "node get", "", "show the node", run_node_get, NULL, TAKES_NOTHING, 0, 0, NULL },
	{ "node watch", "", "show the node whenever it changes", run_node_watch, NULL, TAKES_NOTHING, 0, 0, NULL },
	{ "node cordon", "OWNER", "take no new VMs until OWNER's cordon is lifted", run_node_cordon, cordon_options, TAKES_OTHER, 1, 1, NULL },
	{ "node drain", "OWNER", "take no new VMs, and end those there are", run_node_drain, drain_options, TAKES_OTHER, 1, 1,
	  "The cordon stays until OWNER lifts it. Exits 1 if a VM has not ended.\n\n"
	  "  hearthctl node drain upgrade --action stop --grace 30s\n" },
	{ "node uncordon", "OWNER", "lift OWNER's cordon", run_node_uncordon, uncordon_options, TAKES_OTHER, 1, 1, NULL },
	{ "doctor", "", "look at what the host must have", run_doctor, NULL, TAKES_NOTHING, 0, 0,
	  "Exits 0 if nothing is missing, else 1.\n" },
	{ "health", "", "is the agent alive, and does it accept work", run_health, NULL, TAKES_NOTHING, 0, 0,
	  "Exits 0 if both, else 1.\n" },
	{ "version", "", "versions of hearthctl and the agent", run_version, version_options, TAKES_NOTHING, 0, 0, NULL },
	{ "completion", "bash|zsh", "print a shell's completion script", run_completion, NULL, TAKES_SHELL, 1, 1,
	  "  source <(hearthctl completion bash)\n" },
	{ "help", "[COMMAND | exit-codes]", "this, or one command's", run_help, NULL, TAKES_COMMAND, 0, 2, NULL },
	{ 0 },
};

const CommandGroup command_groups[] = {
	{ "env", "variables for programs in guests" },
	{ "secret", "files of guests that nothing else keeps" },
	{ "egress", "what VMs may reach" },
	{ "snapshot", "VMs as they were" },
	{ "template", "disk images that VMs get copies of" },
	{ "node", "the node itself" },
	{ 0 },
};
/* clang-format on */
