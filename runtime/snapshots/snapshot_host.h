/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Can a snapshot be loaded here? A VMM that loads what another one wrote fails late, or gives the
 * guest a processor it did not boot on and lets it die much later; so it is asked before.
 *
 * - The backend is the same, and there.
 * - Firecracker numbers the format of its state, apart from itself: the same major, and a minor
 *   that is not newer, as it checks itself. Where that is not known, and of other VMMs, the version
 *   is the same; of QEMU two that differ in the third number alone are the same, for between them
 *   no machine type changes.
 * - The accelerator is the same. Under KVM the guest has seen the host's processor: vendor and
 *   model are the same. TCG's processor is QEMU's own.
 * - The host's kernel is in the manifest for people and is not compared. Firecracker calls loading
 *   under another one unstable, but every host gets a new one with each update, and refusing would
 *   make all snapshots worthless by that.
 *
 * Safe from any thread.
 */

#include "runtime/snapshots/snapshot_manifest.h"

enum {
	SNAPSHOT_FACT_MAX = SNAPSHOT_TEXT_MAX + 1,
};

typedef struct SnapshotHost {
	/* Of the backend that is to load it. */
	bool available;
	char backend[SNAPSHOT_FACT_MAX];
	char message[SNAPSHOT_FACT_MAX]; /* why it is not available */
	char vmm_version[SNAPSHOT_FACT_MAX];
	char vmm_format[SNAPSHOT_FACT_MAX]; /* "MAJOR.MINOR.PATCH", that it loads; or "" */
	char accelerator[SNAPSHOT_FACT_MAX];
	/* Of the host. */
	char cpu_vendor[SNAPSHOT_FACT_MAX], cpu_model[SNAPSHOT_FACT_MAX];
	char kernel[SNAPSHOT_FACT_MAX];
} SnapshotHost;

#define SNAPSHOT_CPUINFO "/proc/cpuinfo"

/**
 * snapshot_host_read() - what the host is, into @ret
 * @cpuinfo:	SNAPSHOT_CPUINFO, or what stands for it
 *
 * What cannot be found out is "". The model is all that tells one from another: on x86 the name,
 * family, model and stepping, for Skylake and Cascade Lake differ in the stepping alone.
 */
void snapshot_host_read(SnapshotHost *ret, const char *cpuinfo);

/* Sets those of @manifest that snapshot_host_read() gives. */
void snapshot_host_describe(const SnapshotHost *host, SnapshotManifest *manifest);

/* UNSUPPORTED, with all that does not fit. */
int snapshot_check_host(const SnapshotManifest *manifest, const SnapshotHost *host, Error *err)
	must_check;
