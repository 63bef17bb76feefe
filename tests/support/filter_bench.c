/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/filter_bench.h"

#include "netfw/filter_private.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>

static int open_tap(int *ret)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI };

	*ret = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (*ret < 0 || ioctl(*ret, TUNSETIFF, &request) < 0)
		return -1;
	return (int)if_nametoindex(request.ifr_name);
}

static bool has_bpf(void)
{
	int map = bpf_map_create(
		BPF_MAP_TYPE_LPM_TRIE, NULL, 8, 8, 1,
		&(struct bpf_map_create_opts){ .sz = FILTER_OPTIONS_SIZE(bpf_map_create_opts),
					       .map_flags = BPF_F_NO_PREALLOC });

	if (map >= 0)
		(void)close(map);
	return map >= 0;
}

static const char *enter_namespaces(void)
{
	if (geteuid() != 0)
		return "needs root";
	if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0)
		return "no namespaces of one's own";
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL) < 0)
		return "no BPF file system";
	return has_bpf() ? NULL : "no BPF";
}

const char *filter_bench_open(FilterBench *ret, uint32_t max_vms)
{
	const FilterConfig config = { FILTER_BENCH_PINS, max_vms };
	const char *lacking = enter_namespaces();
	Error err = { 0 };

	*ret = (FilterBench){ 0 };
	if (lacking)
		return lacking;
	for (size_t i = 0; i < array_size(ret->taps); i++) {
		int ifindex = open_tap(&ret->tap_fds[i]);

		if (ifindex <= 0)
			return "no taps";
		ret->taps[i] = (uint32_t)ifindex;
	}
	if (filter_open(&ret->filter, &config, &err) < 0) {
		(void)fprintf(stderr, "the filter does not open: %s\n", err.what);
		abort();
	}
	return NULL;
}

void filter_bench_close(FilterBench *bench)
{
	filter_close(bench->filter);
	for (size_t i = 0; i < array_size(bench->tap_fds); i++)
		if (bench->tap_fds[i] > 0)
			(void)close(bench->tap_fds[i]);
}

static void put_address(uint8_t *ret, const char *text)
{
	Prefix prefix;

	if (prefix_parse_address(&prefix, text) < 0)
		abort();
	memcpy(ret, prefix.address, prefix.family == 4 ? 4 : 16);
}

FilterVm filter_bench_vm(const FilterBench *bench, uint32_t index)
{
	FilterVm vm = { .ifindex = bench->taps[index], .slot = index, .has4 = true, .has6 = true };

	put_address(vm.guest4, FRAME_GUEST4);
	put_address(vm.host4, FRAME_GUEST4);
	put_address(vm.gateway4, FRAME_GATEWAY4);
	put_address(vm.guest6, FRAME_GUEST6);
	put_address(vm.gateway6, FRAME_GATEWAY6);
	memcpy(vm.guest_mac, frame_guest_mac, sizeof vm.guest_mac);
	memcpy(vm.gateway_mac, frame_gateway_mac, sizeof vm.gateway_mac);
	return vm;
}

static FilterTable *compile(const EgressPolicy *policy)
{
	FilterTable *table = NULL;
	Error err = { 0 };

	if (filter_table_new(&table, policy, NULL, 0, &err) < 0)
		abort();
	return table;
}

FilterTable *filter_bench_no_rules(void)
{
	const EgressPolicy nothing = { 0 };

	return compile(&nothing);
}

FilterTable *filter_bench_table(void)
{
	static const EgressPort some[] = {
		{ EGRESS_TCP, 80, 80 },
		{ EGRESS_UDP, 53, 53 },
		{ EGRESS_SCTP, 5000, 5010 },
		{ EGRESS_ICMP, 0, UINT16_MAX },
	};
	static const EgressPort many[] = {
		{ EGRESS_TCP, 1, 1 },   { EGRESS_TCP, 3, 3 },   { EGRESS_TCP, 5, 5 },
		{ EGRESS_TCP, 7, 7 },   { EGRESS_TCP, 9, 9 },   { EGRESS_TCP, 11, 11 },
		{ EGRESS_TCP, 13, 13 }, { EGRESS_UDP, 20, 40 },
	};
	static const EgressBlock named[] = {
		{ { 4, 24, { 192, 0, 2 } }, NULL, 0 },
		{ { 6, 48, { 0x20, 0x01, 0x0d, 0xb8, 0, 1 } }, NULL, 0 },
	};
	static const EgressBlock wide[] = { { { 4, 24, { 198, 51, 100 } }, NULL, 0 } };
	static const EgressBlock ranges[] = { { { 4, 24, { 203, 0, 113 } }, NULL, 0 } };
	static const EgressRule rules[] = {
		{ .to = named,
		  .to_count = array_size(named),
		  .ports = some,
		  .port_count = array_size(some) },
		{ .to = wide, .to_count = 1 },
		{ .to = ranges, .to_count = 1, .ports = many, .port_count = array_size(many) },
	};
	static const EgressPolicy policy = { rules, array_size(rules) };

	return compile(&policy);
}

static int run(int program, uint32_t tap, const Frame *frame, Frame *after,
	       struct __sk_buff *context)
{
	struct bpf_test_run_opts options = { .sz = FILTER_OPTIONS_SIZE(bpf_test_run_opts),
					     .data_in = frame->bytes,
					     .data_size_in = (uint32_t)frame->size,
					     .data_out = after->bytes,
					     .data_size_out = sizeof after->bytes,
					     .ctx_in = context,
					     .ctx_size_in = sizeof *context,
					     .ctx_out = context,
					     .ctx_size_out = sizeof *context,
					     .repeat = 1 };

	context->ifindex = tap;
	if (bpf_prog_test_run_opts(program, &options) < 0)
		return -1;
	after->size = options.data_size_out;
	return (int)options.retval;
}

int filter_bench_act(FilterBench *bench, uint32_t tap, bool to_vm, const Frame *frame, Frame *after)
{
	int program = to_vm ? filter_to_vm_fd(bench->filter) : filter_from_vm_fd(bench->filter);
	struct __sk_buff context = { 0 };

	return run(program, tap, frame, after, &context);
}

static void read_counters(FilterBench *bench, uint32_t slot, bool to_vm,
			  struct filter_counters *ret)
{
	struct filter_counters from, to;
	Error err = { 0 };

	if (filter_counters(bench->filter, slot, &from, &to, &err) < 0)
		abort();
	*ret = to_vm ? to : from;
}

static int counted(const struct filter_counters *before, const struct filter_counters *after)
{
	int verdict = -1;

	for (int i = 0; i < FILTER_VERDICT_COUNT_; i++) {
		if (after->packets[i] == before->packets[i])
			continue;
		if (verdict >= 0 || after->packets[i] != before->packets[i] + 1)
			return -1;
		verdict = i;
	}
	return verdict;
}

FilterOutcome filter_bench_run(FilterBench *bench, uint32_t tap, bool to_vm, const Frame *frame)
{
	int program = to_vm ? filter_to_vm_fd(bench->filter) : filter_from_vm_fd(bench->filter);
	struct filter_counters before, after;
	struct __sk_buff context = { 0 };
	FilterOutcome outcome = { 0 };
	struct filter_vm vm;
	Error err = { 0 };
	uint32_t slot = FILTER_NO_VM;

	if (filter_find_vm(bench->filter, tap, &vm, &err) == 0)
		slot = vm.slot;
	read_counters(bench, slot, to_vm, &before);
	outcome.action = run(program, tap, frame, &outcome.frame, &context);
	outcome.mark = context.mark;
	read_counters(bench, slot, to_vm, &after);
	outcome.verdict = counted(&before, &after);
	return outcome;
}

int filter_bench_explain(FilterBench *bench, uint32_t tap, bool to_vm, const Frame *frame)
{
	struct __sk_buff context = { 0 };
	struct bpf_program *program;
	Frame after = { 0 };
	Error err = { 0 };

	if (filter_load_explainer(bench->filter, &err) < 0)
		return -1;
	program = bpf_object__find_program_by_name(bench->filter->explainer,
						   to_vm ? "to_vm" : "from_vm");
	if (run(bpf_program__fd(program), tap, frame, &after, &context) < 0)
		return -1;
	return (int)context.cb[0];
}
