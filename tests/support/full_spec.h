/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A spec in which no field of the contract is left out, as hearthctl writes it.
 * Some exclude each other: it is well formed, and no VM can have it.
 */

/* clang-format off */
static const char full_spec[] =
	"{\"backend\":\"BACKEND_FIRECRACKER\",\"desiredState\":\"DESIRED_STATE_RUNNING\","
	"\"labels\":{\"app\":\"web\",\"tier\":\"front\"},"
	"\"machine\":{\"vcpus\":2,\"memoryMib\":\"18446744073709551615\",\"smt\":true,"
		"\"hugePages\":\"HUGE_PAGES_2M\",\"cpuTemplate\":\"CPU_TEMPLATE_T2S\","
		"\"cpuConfig\":\"{\\\"cpuid_modifiers\\\":[]}\",\"trackDirtyPages\":true},"
	"\"boot\":{\"kernelPath\":\"/boot/vmlinux\",\"initrdPath\":\"/boot/initrd\","
		"\"bootArgs\":\"console=ttyS0\"},"
	"\"drives\":[{\"driveId\":\"root\",\"path\":\"/srv/root.img\",\"readOnly\":true,\"isRoot\":true,"
		"\"cacheType\":\"CACHE_TYPE_WRITEBACK\",\"ioEngine\":\"IO_ENGINE_ASYNC\","
		"\"rateLimiter\":{\"bandwidth\":{\"size\":\"10485760\",\"oneTimeBurst\":\"5242880\","
			"\"refillTimeMs\":\"1000\"},"
			"\"ops\":{\"size\":\"1000\",\"oneTimeBurst\":\"200\",\"refillTimeMs\":\"500\"}},"
		"\"templateId\":\"debian\",\"sizeMib\":4096,\"fromSnapshot\":true}],"
	"\"networkInterfaces\":[{\"interfaceId\":\"eth0\",\"guestMac\":\"02:00:00:00:00:01\",\"mtu\":1400,"
		"\"rxRateLimiter\":{\"bandwidth\":{\"size\":\"1024\",\"oneTimeBurst\":\"1\","
			"\"refillTimeMs\":\"1000\"},"
			"\"ops\":{\"size\":\"10\",\"oneTimeBurst\":\"2\",\"refillTimeMs\":\"1000\"}},"
		"\"txRateLimiter\":{\"bandwidth\":{\"size\":\"2048\",\"oneTimeBurst\":\"3\","
			"\"refillTimeMs\":\"2000\"},"
			"\"ops\":{\"size\":\"20\",\"oneTimeBurst\":\"4\",\"refillTimeMs\":\"2000\"}},"
		"\"mmds\":true,\"ipv4Address\":\"10.9.0.2\",\"ipv6Address\":\"fd00::2\"}],"
	"\"egress\":{\"rules\":[{\"to\":[{\"cidr\":\"10.0.0.0/8\",\"except\":[\"10.1.0.0/16\"]}],"
		"\"ports\":[{\"protocol\":\"PROTOCOL_UDP\",\"port\":53,\"endPort\":54}],"
		"\"fqdn\":[\"example.org\"]}]},"
	"\"secrets\":[\"token\",\"tls.key\"],\"guestAgent\":\"GUEST_AGENT_REQUIRED\","
	"\"restartPolicy\":{\"mode\":\"RESTART_MODE_ON_FAILURE\",\"maxRestarts\":4294967295,"
		"\"initialBackoff\":\"1.5s\",\"maxBackoff\":\"60.000000001s\"},"
	"\"expiresAt\":\"2026-12-31T23:00:00.25Z\",\"expireAction\":\"EXPIRE_ACTION_DESTROY\","
	"\"devices\":{\"vsock\":{\"guestCid\":4294967294},"
		"\"balloon\":{\"amountMib\":\"64\",\"deflateOnOom\":true,\"statsInterval\":\"5s\","
			"\"freePageHinting\":true,\"freePageReporting\":true},"
		"\"entropy\":{\"rateLimiter\":{\"bandwidth\":{\"size\":\"4096\",\"oneTimeBurst\":\"5\","
			"\"refillTimeMs\":\"100\"},"
			"\"ops\":{\"size\":\"6\",\"oneTimeBurst\":\"7\",\"refillTimeMs\":\"86400000\"}}},"
		"\"mmds\":{\"content\":\"{\\\"role\\\":\\\"front\\\"}\",\"ipv4Address\":\"169.254.7.7\","
			"\"imdsCompat\":true}},"
	"\"limits\":{\"cpuMillis\":1500,\"memoryMib\":\"512\",\"pids\":100},"
	"\"restoreFrom\":{\"vmId\":\"web-0\",\"snapshotId\":\"warm\",\"allowSharedIdentity\":true,"
		"\"memoryBackend\":\"MEMORY_BACKEND_USERFAULTFD\",\"networkOverrides\":[{"
		"\"interfaceId\":\"eth0\",\"ipv4Address\":\"10.0.0.7\",\"ipv6Address\":\"fd00::7\"}]}}";
/* clang-format on */
