/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * For the pager's tests: a process with memory as Firecracker has it after
 * /snapshot/load, which hands it over in Firecracker's words and then touches
 * it; every page that comes is compared with what it has to hold.
 *
 * Whatever cannot be set up ends the program with a message.
 */

#include "base/process.h"

#include <stdatomic.h>

enum {
	GUEST_PAGE = 4096,
	GUEST_PAGE_HUGE = 2 * 1024 * 1024
};

typedef struct GuestPlan {
	uint64_t size; /* bytes */
	uint64_t page_size;
	unsigned regions;      /* of about the same size, apart from one another */
	unsigned hole_percent; /* of the 64 KiB pieces of its file */
} GuestPlan;

/* What the guest's process tells, while it runs and after; in memory that both have. */
typedef struct GuestReport {
	atomic_uint_fast64_t touched; /* pages */
	atomic_uint_fast64_t bad;     /* pages with something else than they should */
	atomic_uint_fast64_t max_ns;  /* the longest touch */
	atomic_uint_fast64_t sum_ns;  /* of all of them */
	atomic_uint_fast64_t stalls;  /* of more than 5 usec: what is there takes less */
	atomic_uint_fast64_t all_ns;  /* the whole work */
	atomic_uint_fast64_t rounds;  /* of whatever the work counts */
} GuestReport;

typedef struct Guest {
	GuestPlan plan;
	GuestReport *report;
	char *memory[32]; /* by region */
	uint64_t pages;
	int uffd, socket;
} Guest;

typedef void GuestWork(Guest *guest);

/* Writes the file that memory of @plan is to be restored from. */
void guest_make_file(const char *path, const GuestPlan *plan);

typedef struct GuestProcess {
	ProcessId id;
	GuestReport *report;
	int steps; /* of it; closed: it goes on */
} GuestProcess;

/**
 * guest_start() - fork a process that has such memory
 *
 * It takes a step for each guest_step(): to hand over at @socket; then to run @work. It exits with
 * 0, or 1 if there were bad pages.
 */
GuestProcess guest_start(const GuestPlan *plan, const char *socket, GuestWork *work);
void guest_step(const GuestProcess *process);
/* Its wait status; -1: it has not ended within @usec, and is killed. */
int guest_wait(GuestProcess *process, int64_t usec);

/* In the guest's process: where page @page is; is what is there right? */
volatile uint64_t *guest_page(const Guest *guest, uint64_t page);
/* Gives pages back, as a balloon does; those of one region. */
void guest_give_back(const Guest *guest, uint64_t page, uint64_t count);
bool guest_page_is_right(const Guest *guest, uint64_t page);
bool guest_page_is_zero(const Guest *guest, uint64_t page);
/* The first word page @page has to have; 0: it lies in a hole. */
uint64_t guest_word(const Guest *guest, uint64_t page);

/* Touches a page, timed, and compares it. */
void guest_touch(Guest *guest, uint64_t page);

/* Works. Random ones are the same each time. */
void guest_touch_in_order(Guest *guest);
void guest_touch_scattered(Guest *guest); /* a quarter of the pages */
void guest_touch_clusters(Guest *guest);  /* a quarter, in clusters of 8 */
void guest_touch_all_mixed(Guest *guest); /* all, in random order */

uint64_t guest_random(uint64_t *state);

/* Is there a userfaultfd for this process, and are there huge pages for @bytes? NULL, or why not.
 */
const char *guest_cannot(uint64_t page_size, uint64_t bytes);
