/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The durable truth: SQLite (WAL, synchronous=FULL) in <state_dir>/hearth.db.
 *
 * One thread writes. It takes all that has been submitted, in order, numbers
 * it, commits it as one transaction, then calls the publisher and each
 * change's done(). Reads use a connection of their own and never wait for the
 * writer. SQLite is used here only.
 *
 * Tables (schema version in meta): meta(key, value); vms(vm_id, uid,
 * revision, record); tombstones(uid, vm_id, delete_time); events(revision, type, time,
 * vm_id, uid, reason, message, operation_id, principal, record);
 * cordons(owner, reason, time). A newer minor version may add tables and
 * columns with defaults, and members to records, but no names to their enumerations; a store of a
 * newer major one is refused.
 *
 * Opening checks what is the truth: all of meta, vms, tombstones and cordons, 6 ms for 1 000 VMs.
 * Events are read at the start anyway.
 */

#include "base/histogram.h"
#include "runtime/change.h"

typedef struct Store Store;

enum {
	STORE_MAJOR = 1,
	STORE_MINOR = 0,
	STORE_TOMBSTONE_SEC = 3600,
};

typedef struct StoreConfig {
	const char *state_dir; /* exists */
	uint32_t history;      /* events kept, at least */
} StoreConfig;

/**
 * store_open() - open or make the store; no thread yet
 * @err:	STORE: cannot be opened, CORRUPT: is no hearth store or damaged; newer major
 *
 * Takes <state_dir>/lock (flock) so that a second agent on it is refused.
 */
int store_open(Store **ret, const StoreConfig *config, Error *err) must_check;

/* hearthd --rebuild: as store_open(), but what is there is moved aside first, to *@aside (to free;
 * as it was if nothing is), and the store is a new one. */
int store_open_anew(Store **ret, const StoreConfig *config, char **aside, Error *err) must_check;

typedef struct StoreSalvage {
	void (*each)(void *user, VmRecord *record); /* takes over a reference */
	void (*lost)(void *user, const char *what); /* something cannot be read */
	void *user;
} StoreSalvage;

/* Reads what can be read of the store at @aside; its cordons and tombstones go into @store, which
 * has no writer yet. Damage is no failure. STORE: @store cannot be written. */
int store_salvage(Store *store, const char *aside, const StoreSalvage *to, Error *err) must_check;
/* Puts @records into a new store, whose revision is then the latest of theirs. */
int store_adopt(Store *store, VmRecord *const *records, size_t count, Error *err) must_check;

/* The UUID made with the store, and the revision of its latest change; a new store's is 1, so that
 * 0 is free to mean "from now on". */
const char *store_id(const Store *store);
uint64_t store_revision(const Store *store);

/* Every VM, by vm_id, before store_start(). @each takes over a reference. */
int store_load_vms(Store *store, void (*each)(void *user, VmRecord *record), void *user, Error *err)
	must_check;
/* The latest @max events, oldest first, before store_start(); change->before is not set. */
int store_load_changes(Store *store, size_t max, void (*each)(void *user, Change *change),
		       void *user, Error *err) must_check;

/* Starts the writer. @publish gets each durable batch, in order, on the writer's thread. */
int store_start(Store *store, void (*publish)(void *user, Change *const *batch, size_t count),
		void *user, Error *err) must_check;

/* Queues @change (takes a reference over). Order is kept; never blocks. */
void store_submit(Store *store, Change *change);

/* How long commits took, each of one or more changes; of those that failed nothing. */
const Histogram *store_commits(const Store *store);

/* Can something not be written, or not be read? What was last said of it: STORE. False: all is
 * well;
 * @ret may be NULL. */
bool store_failing(Store *store, Error *ret);

/* A past hour's VM had this uid, or one of the present ones has: 1, else 0, -1 with STORE. */
int store_uid_used(Store *store, const char *uid, Error *err) must_check;

/* One event as ListVmEvents has it; all texts the caller's to free (store_event_clear). */
typedef struct StoreEvent {
	uint64_t revision;
	ChangeType type;
	VmState state;
	int64_t time;
	char *vm_id, *uid, *reason, *message, *operation_id, *principal;
} StoreEvent;
void store_event_clear(StoreEvent *event);

/* Up to @max events of @vm_id (and @uid unless empty) after revision @after; the count in @n.
 * STORE. Blocks for one indexed query. */
int store_list_events(Store *store, const char *vm_id, const char *uid, uint64_t after,
		      StoreEvent *events, size_t max, size_t *n, Error *err) must_check;

/* The last ones of @record's incarnation of its VM, up to @max, the earliest of them first: as
 * store_list_events(). */
int store_last_events(Store *store, const VmRecord *record, StoreEvent *events, size_t max,
		      size_t *n, Error *err) must_check;

typedef struct StoreCordon {
	char *owner, *reason;
	int64_t time;
} StoreCordon;

/* Durable on return; setting again replaces the reason, removing none is fine. STORE. */
int store_set_cordon(Store *store, const char *owner, const char *reason, Error *err) must_check;
int store_remove_cordon(Store *store, const char *owner, Error *err) must_check;
/* All, by owner; array and texts the caller's to free (store_cordons_free). */
int store_list_cordons(Store *store, StoreCordon **ret, size_t *n, Error *err) must_check;
void store_cordons_free(StoreCordon *cordons, size_t n);

/* Remembers the boot id the store was last served in; answers the one before ("" at first). */
int store_exchange_boot_id(Store *store, const char *boot_id, char before[static 37], Error *err)
	must_check;

/* Writes all that is queued, ends the writer, closes. */
void store_close(Store *store);
