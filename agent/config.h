/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * hearthd's configuration: built-in values, then the file, then the flags.
 *
 * One table of keys (config_table.c) says what there is: a key's name in the file
 * ("limits.max_vms"), its flag ("--limits-max-vms", derived), its type, range,
 * built-in value and help. The file's schema, the flags, --help and the checks
 * all come from it. Read once, before any thread starts; constant afterwards.
 */

#include "agent/roles.h"
#include "agent/tls/tls_files.h"
#include "base/error.h"
#include "runtime/network_config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
	CONFIG_FILE_MAX = 65536, /* bytes of a file */
	CONFIG_LISTEN_MAX = 16,
};

typedef struct ConfigList {
	char **items;
	size_t count;
} ConfigList;

/* Texts are never NULL once config_read() has succeeded. */
typedef struct Config {
	char *node_id;
	char *state_dir;
	ConfigList listen;
	char *tls_certificate; /* or "none", as below */
	char *tls_key;
	char *tls_client_ca;
	char *roles_viewer; /* "NAME,NAME", or "none", as below */
	char *roles_operator;
	char *roles_admin;
	char *audit_file;     /* or "none" */
	char *metrics_listen; /* or "none" */
	char *metrics_vms;    /* "none", "usage" or "all" */
	char *backend;        /* "in_memory", "qemu" or "firecracker" */
	char *keeper;
	char *launcher; /* "auto", "systemd", "cgroup" or "child" */
	char *qemu_binary;
	char *qemu_accelerator; /* "auto", "kvm" or "tcg" */
	char *firecracker_binary;
	char *jailer_mode; /* "on" or "off" */
	char *jailer_binary;
	char *jailer_dir; /* default: <state_dir>/jail */
	char *jailer_cgroup;
	uint64_t jailer_first_uid;
	uint64_t jailer_uid_count;
	uint64_t capacity_cpu_percent; /* 0: no limit, as below */
	uint64_t capacity_memory_percent;
	uint64_t capacity_reserved_memory_mib;
	uint64_t capacity_reserved_disk_mib;
	char *network_mode;  /* "off", "routed" or "bridge" */
	char *network_pool4; /* a prefix, or "none", as all below */
	char *network_pool6;
	char *network_uplink;
	char *network_bridge;
	char *network_gateway4; /* "ADDRESS/LENGTH" */
	char *network_gateway6;
	char *network_enforcement; /* "auto", "bpf" or "iptables" */
	char *network_denied;      /* "PREFIX,PREFIX" */
	char *network_resolvers;   /* "ADDRESS,ADDRESS", or "auto" */
	uint64_t network_new_flows;
	char *image_dirs;           /* "DIR:DIR"; "/" allows all */
	uint64_t templates_max_mib; /* 0: no limit, as below */
	uint64_t templates_max_image_mib;
	uint64_t max_vms;
	uint64_t max_operations;
	uint64_t max_restarts;
	uint64_t max_connections;
	uint64_t max_calls;
	uint64_t max_streams;
	uint64_t pollers;
	uint64_t message_bytes;
	uint64_t history;
	uint64_t console_max_bytes;
	uint64_t console_rate_bytes;
	char *log_format;       /* "text" or "json" */
	char *log_level;        /* "error", "info" or "debug" */
	uint64_t drain_timeout; /* seconds */
} Config;

typedef enum ConfigAction {
	CONFIG_RUN,
	CONFIG_CHECK,   /* validate and exit */
	CONFIG_REBUILD, /* make the store again and exit */
	CONFIG_HELP,
	CONFIG_VERSION,
} ConfigAction;

/**
 * config_read() - what the command line and the file it names ask for
 * @config:	zeroed; the caller's to config_clear(), after failure too
 * @action:	what to do; with HELP and VERSION @config may be incomplete
 * @err:	INVALID_REQUEST: "what" names the key or flag, and the file's line where known
 */
int config_read(Config *config, ConfigAction *action, int argc, char *const argv[], Error *err)
	must_check;

/* The file's part: the values in @text over those in @config; @name is for messages. */
int config_read_text(Config *config, const char *text, size_t length, const char *name, Error *err)
	must_check;

void config_clear(Config *config);

/* What is said of the network, in numbers; @ret borrows texts. As config_read() has checked it. */
int config_network(const Config *config, NetworkConfig *ret, Error *err) must_check;

/* Borrows texts. */
TlsFiles config_tls(const Config *config);

/* As roles_new(). */
int config_roles(const Config *config, Roles **ret, Error *err) must_check;

/* What --help says, from the table. */
void config_print_help(FILE *to);
