/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/json.h"
#include "agent/ctl/message.h"
#include "agent/ctl/vm_view.h"
#include "base/text.h"
#include "tests/support/full_spec.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <string.h>

/* How the agent answers for a VM with @spec and @status. */
static Hearth__V1__Vm *vm_with(const char *spec, const char *status)
{
	cleanup_free char *text =
		text_printf("{\"vmId\":\"web-1\",\"spec\":%s,\"status\":%s}", spec, status);
	cleanup_(json_freep) json_t *json = json_loads(text, 0, NULL);
	ProtobufCMessage *message = NULL;
	Error err = { 0 };

	cr_assert_not_null(json);
	cr_assert_eq(json_to_message(&message, &hearth__v1__vm__descriptor, json, &err), 0, "%s",
		     err.what);
	return (Hearth__V1__Vm *)(void *)message;
}

/* The same, with what it has @resolved. */
static Hearth__V1__Vm *vm_of(const char *spec, const char *resolved)
{
	cleanup_free char *status = text_printf("{\"resolved\":%s}", resolved);

	return vm_with(spec, status);
}

/* What has been printed; the caller's to free. */
static char *printed(void)
{
	char *text = must_calloc(1, 65536);

	(void)fflush(stdout);
	(void)fread(text, 1, 65535, cr_get_redirected_stdout());
	return text;
}

static void check_line(const char *text, const char *line)
{
	cleanup_free char *whole = text_printf("\n%s\n", line);

	cr_assert(strstr(text, whole), "no line '%s' in:\n%s", line, text);
}

Test(ctl_view, all_that_was_asked_for_is_described, .init = cr_redirect_stdout)
{
	cleanup_(message_freep) Hearth__V1__Vm *vm =
		vm_of(full_spec, "{\"vcpus\":2,\"memoryMib\":256}");

	vm_describe(vm);
	cleanup_free char *text = printed();

	check_line(text, "Machine:       2 vCPU, 256MiB, smt, huge-pages=2m, cpu-template=t2s, "
			 "cpu-config of 22 bytes, dirty pages tracked");
	check_line(text, "Kernel:        /boot/vmlinux");
	check_line(text,
		   "Drive:         root /srv/root.img (root, 4GiB, read-only, cache=writeback, "
		   "io=async, bw=10m/1s+5m, ops=1000/500ms+200)");
	check_line(text, "Interface:     eth0 (mac=02:00:00:00:00:01, ip=10.9.0.2, ip6=fd00::2, "
			 "mtu=1400, mmds, "
			 "rx-bw=1k/1s+1, rx-ops=10/1s+2, tx-bw=2k/2s+3, tx-ops=20/2s+4)");
	check_line(text, "Egress:        10.0.0.0/8 without 10.1.0.0/16, example.org: udp/53-54");
	check_line(text, "Vsock:         CID 4294967294");
	check_line(text, "Balloon:       64MiB, deflated when out of memory, statistics every 5s, "
			 "free pages hinted, free pages reported");
	check_line(text, "Entropy:       bw=4k/100ms+5, ops=6/86400s+7");
	check_line(text, "MMDS:          169.254.7.7, 16 bytes, as EC2 answers");
	check_line(text, "Guest agent:   required");
	check_line(text, "Secrets:       token, tls.key");
	check_line(text, "Limits asked:  cpu=1.5, memory=512MiB, pids=100");
	check_line(text, "Restart:       on-failure, at most 4294967295 in a row");
}

Test(ctl_view, what_was_made_of_it_is_described, .init = cr_redirect_stdout)
{
	cleanup_(message_freep) Hearth__V1__Vm *vm =
		vm_of("{\"networkInterfaces\":[{\"interfaceId\":\"a\"},{\"interfaceId\":\"b\"}],"
		      "\"devices\":{\"vsock\":{},\"mmds\":{}}}",
		      "{\"vcpus\":1,\"memoryMib\":1024,\"jailUid\":100007,\"jailPath\":\"/srv/jail/"
		      "x/root\","
		      "\"cgroup\":\"hearth/x\",\"vsockPath\":\"/srv/jail/x/root/v.sock\","
		      "\"limits\":{\"cpuMillis\":1000,\"memoryMib\":1152,\"pids\":66},"
		      "\"networkInterfaces\":[{\"interfaceId\":\"b\",\"hostDevice\":\"hth-2\"}]}");

	vm_describe(vm);
	cleanup_free char *text = printed();

	check_line(text, "Machine:       1 vCPU, 1GiB");
	check_line(text, "Interface:     a");
	check_line(text, "Interface:     b on hth-2");
	check_line(text, "Vsock:         CID 3 at /srv/jail/x/root/v.sock");
	check_line(text, "MMDS:          169.254.169.254, 0 bytes");
	check_line(text, "Jail:          uid 100007 in /srv/jail/x/root");
	check_line(text, "Cgroup:        hearth/x");
	check_line(text, "Limits:        cpu=1, memory=1152MiB, pids=66");
}

Test(ctl_view, what_the_guest_tells_is_described, .init = cr_redirect_stdout)
{
	cleanup_(message_freep) Hearth__V1__Vm *vm =
		vm_with("{}", "{\"guest\":{\"connected\":true,\"ready\":true,"
			      "\"agentVersion\":\"0.1.0\",\"bootId\":\"5f0c\","
			      "\"secrets\":[\"token\",\"tls.key\"]}}");

	vm_describe(vm);
	cleanup_free char *text = printed();

	check_line(text, "Guest:         connected, ready, hearth-guest 0.1.0, boot 5f0c");
	check_line(text, "Has secrets:   token, tls.key");
}

Test(ctl_view, a_guest_that_tells_nothing_is_described_too, .init = cr_redirect_stdout)
{
	cleanup_(message_freep) Hearth__V1__Vm *vm = vm_with("{}", "{\"guest\":{}}");

	vm_describe(vm);
	cleanup_free char *text = printed();

	check_line(text, "Guest:         not connected, not ready");
	cr_assert_null(strstr(text, "ecrets:"));
}

Test(ctl_view, a_vm_without_a_status_is_described_too, .init = cr_redirect_stdout)
{
	Hearth__V1__Vm vm;
	hearth__v1__vm__init(&vm);

	vm_describe(&vm);
	cleanup_free char *text = printed();

	cr_assert(strncmp(text, "State:         -\n", 17) == 0, "%s", text);
	cr_assert_null(strstr(text, "Machine:"));
}

Test(ctl_view, a_wide_row_names_the_jail_drives_and_interfaces, .init = cr_redirect_stdout)
{
	cleanup_(message_freep) Hearth__V1__Vm *vm =
		vm_of("{\"drives\":[{\"driveId\":\"root\"},{\"driveId\":\"data\"}],"
		      "\"networkInterfaces\":[{\"interfaceId\":\"a\"},{\"interfaceId\":\"b\"}]}",
		      "{\"jailUid\":100007,\"networkInterfaces\":"
		      "[{\"interfaceId\":\"a\",\"hostDevice\":\"hth-1\"}]}");
	const Ctl ctl = { .format = OUTPUT_WIDE };

	vm_print(&ctl, vm);
	cleanup_free char *text = printed();

	cr_assert(strstr(text, "JAIL-UID   DRIVES      INTERFACES "), "%s", text);
	cr_assert(strstr(text, "100007     root,data   a=hth-1,b "), "%s", text);
}

Test(ctl_view, what_was_leased_is_described_with_what_enforces_the_policy,
     .init = cr_redirect_stdout)
{
	cleanup_(message_freep) Hearth__V1__Vm *vm =
		vm_of("{\"networkInterfaces\":[{\"interfaceId\":\"eth0\"}],"
		      "\"egress\":{\"rules\":[{},{\"to\":[{\"cidr\":\"10.0.0.0/8\"}],\"ports\":"
		      "[{\"port\":443},{\"protocol\":\"PROTOCOL_ICMP\"}]}]}}",
		      "{\"networkInterfaces\":[{\"interfaceId\":\"eth0\",\"hostDevice\":\"h-0\","
		      "\"guestMac\":\"02:68:74:00:00:01\",\"ipv4Address\":\"10.200.0.2\","
		      "\"enforcement\":\"ENFORCEMENT_BPF\"}]}");

	vm_describe(vm);
	cleanup_free char *text = printed();

	check_line(text, "Interface:     eth0 on h-0 (mac=02:68:74:00:00:01, ip=10.200.0.2, "
			 "enforcement=bpf)");
	check_line(text, "Egress:        everywhere: all");
	check_line(text, "               10.0.0.0/8: tcp/443, icmp");
}

Test(ctl_view, an_empty_policy_is_described_as_nothing, .init = cr_redirect_stdout)
{
	cleanup_(message_freep) Hearth__V1__Vm *vm = vm_of("{\"egress\":{}}", "{}");

	vm_describe(vm);
	cleanup_free char *text = printed();

	check_line(text, "Egress:        nothing");
}
