/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How keepers are started, so that they and their VMs outlive the agent.
 *
 * A child stays in the agent's control groups, and ends with them: with the agent's
 * pod, or with a service that ends all in its group. With control groups, a keeper
 * leaves those before it starts its VMM, for the group <parent>-keepers of every
 * hierarchy, which stays when the agent ends; the VMM goes on into a group of its
 * own, <parent>/<instance>, which has its limits. (A jailed one's is the jailer's.)
 * By systemd, both are within the service <parent>-vms.service of the slice
 * hearth.slice, which systemd has delegated: it leaves them alone, and an operator
 * can see and limit all VMs together. That takes version 2 and nothing else mounted.
 * Constant once made, but for what launcher_test() has seen; safe from any thread.
 */

#include "base/words.h"
#include "runtime/backend.h"
#include "runtime/cgroup.h"

typedef enum LauncherKind {
	LAUNCHER_CHILD,
	LAUNCHER_CGROUP,
	LAUNCHER_SYSTEMD,
	LAUNCHER_KIND_COUNT_,
} LauncherKind;

typedef struct LauncherConfig {
	const char *wanted; /* "auto": systemd where it is process 1, or control groups where there
			       are, else child but in a pod; "systemd", "cgroup", "child" */
	const char *parent; /* control group that VMs' groups are made in; one component */
	const char *keeper_path;
	const char *mounts; /* a file like /proc/self/mounts; NULL: that one */
	bool in_pod;        /* what is a child there ends with it */
} LauncherConfig;

/* Does this process run in a pod of Kubernetes? */
bool launcher_in_pod(void);

/* Chooses, and makes the groups of keepers. Never fails: what does not work is told by
 * launcher_look(). */
Launcher *launcher_new(const LauncherConfig *config);
void launcher_free(Launcher *launcher); /* accepts NULL */
DEFINE_CLEANUP(Launcher *, launcher_free);

/* "child", "cgroup" or "systemd"; NULL is a child. */
const char *launcher_name(const Launcher *launcher);

/* The control group that VMs' groups are made in, a jailer's as well; a path below the hierarchies'
 * roots. */
const char *launcher_parent(const Launcher *launcher);

/* Puts a process through it, and looks where it has landed; blocks. */
void launcher_test(Launcher *launcher);
/* What was seen last: does it work? Else @message says why not. Before the first test: what is
 * known without. */
bool launcher_look(Launcher *launcher, char *message, size_t size);

/* The keeper's words: what it is to enter. NULL adds none. */
void launcher_add_words(const Launcher *launcher, Words *words);

/* Before anything is made for a VM: what its keeper enters is there, or there again. VMM_FAILED. */
int launcher_prepare(const Launcher *launcher, Error *err) must_check;

/* Have VMMs that are not jailed limits? */
bool launcher_has_limits(const Launcher *launcher);

/**
 * launcher_make_group() - a fresh control group for @job's VMM, with its limits
 * @err:	VMM_FAILED
 *
 * Fills in resolved's cgroup and limits; does nothing where there are none.
 */
int launcher_make_group(const Launcher *launcher, Job *job, Error *err) must_check;
/* What the VMM is to enter, and where the keeper finds out whether memory ran out. */
void launcher_add_group(const Launcher *launcher, const Job *job, Words *words);
/* Is the VMM in its group, with its limits? VMM_FAILED. */
int launcher_verify_group(const Launcher *launcher, const Job *job, Error *err) must_check;
/* Ends all in @instance's group, made by whichever launcher, and removes it; none is success.
 * VMM_FAILED. */
int launcher_end_group(const Launcher *launcher, const char *instance, Error *err) must_check;
