/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/json.h"
#include "agent/ctl/message.h"
#include "agent/ctl/parts.h"
#include "agent/ctl/rate.h"
#include "agent/ctl/request.h"
#include "base/text.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>

static const Command *create_command(void)
{
	const Command *command = commands;

	while (strcmp(command->name, "create") != 0)
		command++;
	return command;
}

/* What create would send as spec for the options in @line: as JSON, or NULL where they are refused.
 */
static char *spec_of(const char *const *line)
{
	cleanup_(options_release) Options options = {
		.tables = { global_options, create_command()->options },
	};
	cleanup_(message_freep) Hearth__V1__VmSpec *spec =
		message_new(&hearth__v1__vm_spec__descriptor);
	cleanup_(json_freep) json_t *json = NULL;
	char problem[OPTION_PROBLEM_MAX] = "";
	Ctl ctl = { 0 };
	int status;

	cr_assert_geq(options_parse(&options, line, false, problem), 0, "%s", problem);
	ctl.options = options;
	status = request_spec(&ctl, spec);
	if (status) {
		cr_assert_eq(status, EXIT_USAGE);
		return NULL;
	}
	json = json_from_message(&spec->base);
	return json_dumps(json, JSON_COMPACT);
}

#define LINE(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void check_spec(const char *const *line, const char *expected)
{
	cleanup_free char *spec = spec_of(line);

	cr_assert_not_null(spec, "%s %s", line[0], line[1]);
	cr_assert_str_eq(spec, expected);
}

static bool refuses(const char *const *line)
{
	cleanup_free char *spec = spec_of(line);

	return !spec;
}

/* A file with @text, the caller's to remove. */
static void write_file(char path[static 32], const char *text)
{
	cleanup_close int fd = -1;

	text_copy(path, 32, "/tmp/hearth-ctl-XXXXXX");
	fd = mkostemp(path, O_CLOEXEC);
	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

Test(ctl_request, the_machine_is_what_its_options_say)
{
	check_spec(LINE("--vcpus", "2", "-m", "256", "--smt"),
		   "{\"machine\":{\"vcpus\":2,\"memoryMib\":\"256\",\"smt\":true}}");
	check_spec(LINE("--huge-pages", "2m"), "{\"machine\":{\"hugePages\":\"HUGE_PAGES_2M\"}}");
	check_spec(LINE("--huge-pages", "transparent"),
		   "{\"machine\":{\"hugePages\":\"HUGE_PAGES_TRANSPARENT\"}}");
	check_spec(LINE("--huge-pages", "none"),
		   "{\"machine\":{\"hugePages\":\"HUGE_PAGES_NONE\"}}");
	check_spec(LINE("--cpu-template", "t2cl"),
		   "{\"machine\":{\"cpuTemplate\":\"CPU_TEMPLATE_T2CL\"}}");
}

Test(ctl_request, options_that_are_not_given_say_nothing)
{
	check_spec(LINE("--start"), "{\"desiredState\":\"DESIRED_STATE_RUNNING\"}");
}

Test(ctl_request, objects_are_read_from_files_as_one_line)
{
	char path[32];
	write_file(path, "{ \"b\": [1, 2.5],\n \"a\": {\"x\": \"\\u00e9\"} }\n");

	cleanup_free char *config = spec_of(LINE("--cpu-config", path));
	cleanup_free char *content = spec_of(LINE("--mmds", path));
	(void)unlink(path);

	cr_assert_str_eq(config, "{\"machine\":{\"cpuConfig\":\"{\\\"b\\\":[1,2.5],"
				 "\\\"a\\\":{\\\"x\\\":\\\"\xc3\xa9\\\"}}\"}}");
	cr_assert_str_eq(content, "{\"devices\":{\"mmds\":{\"content\":\"{\\\"b\\\":[1,2.5],"
				  "\\\"a\\\":{\\\"x\\\":\\\"\xc3\xa9\\\"}}\"}}}");
}

Test(ctl_request, files_that_hold_no_object_are_refused)
{
	static const char *const texts[] = { "", "[]", "{", "{\"a\":1,\"a\":2}", "{} x" };

	for (size_t i = 0; i < array_size(texts); i++) {
		char path[32];
		write_file(path, texts[i]);

		bool config = refuses(LINE("--cpu-config", path));
		bool content = refuses(LINE("--mmds", path));
		(void)unlink(path);

		cr_assert(config && content, "'%s'", texts[i]);
	}
}

Test(ctl_request, a_drive_is_what_its_parts_say)
{
	check_spec(LINE("--drive", "id=a,path=/a=b,root,ro"),
		   "{\"drives\":[{\"driveId\":\"a\",\"path\":\"/a=b\",\"readOnly\":true,"
		   "\"isRoot\":true}]}");
	check_spec(LINE("--drive", "path=/a,cache=writeback,io=async", "--drive",
			"path=/b,ro,rw,cache=unsafe,io=sync"),
		   "{\"drives\":[{\"driveId\":\"disk0\",\"path\":\"/a\","
		   "\"cacheType\":\"CACHE_TYPE_WRITEBACK\",\"ioEngine\":\"IO_ENGINE_ASYNC\"},"
		   "{\"driveId\":\"disk1\",\"path\":\"/b\",\"cacheType\":\"CACHE_TYPE_UNSAFE\","
		   "\"ioEngine\":\"IO_ENGINE_SYNC\"}]}");
	check_spec(LINE("--drive", "path=/a,bw=10m/1s+1g,ops=1000/500ms"),
		   "{\"drives\":[{\"driveId\":\"disk0\",\"path\":\"/a\",\"rateLimiter\":"
		   "{\"bandwidth\":{\"size\":\"10485760\",\"oneTimeBurst\":\"1073741824\","
		   "\"refillTimeMs\":\"1000\"},"
		   "\"ops\":{\"size\":\"1000\",\"refillTimeMs\":\"500\"}}}]}");
	check_spec(LINE("--drive", "path=/a,bw=1/1s+9,bw=2/1s"),
		   "{\"drives\":[{\"driveId\":\"disk0\",\"path\":\"/a\",\"rateLimiter\":"
		   "{\"bandwidth\":{\"size\":\"2\",\"refillTimeMs\":\"1000\"}}}]}");
}

Test(ctl_request, what_is_no_drive_is_refused)
{
	cr_assert(refuses(LINE("--drive", "")));
	cr_assert(refuses(LINE("--drive", "id=a")));
	cr_assert(refuses(LINE("--drive", "/a")));
	cr_assert(refuses(LINE("--drive", "path=")));
	cr_assert(refuses(LINE("--drive", "path")));
	cr_assert(refuses(LINE("--drive", "path=/a,")));
	cr_assert(refuses(LINE("--drive", "path=/a,root=yes")));
	cr_assert(refuses(LINE("--drive", "path=/a,cache=write")));
	cr_assert(refuses(LINE("--drive", "path=/a,io=unspecified")));
	cr_assert(refuses(LINE("--drive", "path=/a,bw=10m")));
	cr_assert(refuses(LINE("--drive", "path=/a,ops=1k/1s")));
	cr_assert(refuses(LINE("--drive", "path=/a", "--drive", "path=/b,mtu=1500")));
}

Test(ctl_request, an_interface_is_what_its_parts_say)
{
	check_spec(LINE("--interface", "id=a,mac=02:00:00:00:00:01,mtu=1400,mmds"),
		   "{\"networkInterfaces\":[{\"interfaceId\":\"a\","
		   "\"guestMac\":\"02:00:00:00:00:01\",\"mtu\":1400,\"mmds\":true}]}");
	check_spec(LINE("--interface", "mmds", "--interface",
			"mtu=4294967295,rx-bw=1k/1s,rx-ops=2/1s,tx-bw=3k/1s,tx-ops=4/1s"),
		   "{\"networkInterfaces\":[{\"interfaceId\":\"eth0\",\"mmds\":true},"
		   "{\"interfaceId\":\"eth1\",\"mtu\":4294967295,\"rxRateLimiter\":"
		   "{\"bandwidth\":{\"size\":\"1024\",\"refillTimeMs\":\"1000\"},"
		   "\"ops\":{\"size\":\"2\",\"refillTimeMs\":\"1000\"}},\"txRateLimiter\":"
		   "{\"bandwidth\":{\"size\":\"3072\",\"refillTimeMs\":\"1000\"},"
		   "\"ops\":{\"size\":\"4\",\"refillTimeMs\":\"1000\"}}}]}");
}

Test(ctl_request, what_is_no_interface_is_refused)
{
	cr_assert(refuses(LINE("--interface", "")));
	cr_assert(refuses(LINE("--interface", "id=")));
	cr_assert(refuses(LINE("--interface", "eth0")));
	cr_assert(refuses(LINE("--interface", "id=a,mtu=4294967296")));
	cr_assert(refuses(LINE("--interface", "id=a,mtu=-1")));
	cr_assert(refuses(LINE("--interface", "id=a,mmds=on")));
	cr_assert(refuses(LINE("--interface", "id=a,bw=1m/1s")));
	cr_assert(refuses(LINE("--interface", "id=a,rx-bw=1m/0.5ms")));
}

Test(ctl_request, devices_are_what_their_options_say)
{
	check_spec(LINE("--vsock", "0"), "{\"devices\":{\"vsock\":{}}}");
	check_spec(LINE("--vsock", "4294967295", "--balloon", "18446744073709551615"),
		   "{\"devices\":{\"vsock\":{\"guestCid\":4294967295},"
		   "\"balloon\":{\"amountMib\":\"18446744073709551615\"}}}");
	cr_assert(refuses(LINE("--vsock", "4294967296")));
}

Test(ctl_request, limits_are_what_their_options_say)
{
	check_spec(
		LINE("--cpu-limit", "1.5", "--memory-limit", "512", "--pids-limit", "4294967295"),
		"{\"limits\":{\"cpuMillis\":1500,\"memoryMib\":\"512\",\"pids\":4294967295}}");
	check_spec(LINE("--cpu-limit", "0.01"), "{\"limits\":{\"cpuMillis\":10}}");
	check_spec(LINE("--cpu-limit", "2"), "{\"limits\":{\"cpuMillis\":2000}}");
	check_spec(LINE("--cpu-limit", "0.125"), "{\"limits\":{\"cpuMillis\":125}}");
	check_spec(LINE("--cpu-limit", "4294967.295"), "{\"limits\":{\"cpuMillis\":4294967295}}");
}

Test(ctl_request, the_guest_is_asked_for_what_its_options_say)
{
	check_spec(LINE("--guest-agent", "required", "--secret", "token", "--secret", "tls.key"),
		   "{\"secrets\":[\"token\",\"tls.key\"],\"guestAgent\":\"GUEST_AGENT_REQUIRED\"}");
	check_spec(LINE("--guest-agent", "none"), "{\"guestAgent\":\"GUEST_AGENT_NONE\"}");
}

Test(ctl_request, what_is_no_limit_is_refused)
{
	static const char *const cpus[] = { "",
					    ".",
					    ".5",
					    "1.",
					    "1.5.5",
					    "1.2345",
					    "-1",
					    "1e3",
					    "half",
					    "4294967.296",
					    "18446744073709551616" };

	for (size_t i = 0; i < array_size(cpus); i++)
		cr_assert(refuses(LINE("--cpu-limit", cpus[i])), "%s", cpus[i]);
	cr_assert(refuses(LINE("--pids-limit", "4294967296")));
	cr_assert(refuses(LINE("--max-restarts", "4294967296")));
	cr_assert(refuses(LINE("--vcpus", "4294967296")));
}

Test(ctl_request, a_rate_is_read_and_written_alike)
{
	static const char *const rates[] = { "1/1s",      "10m/1s",         "1000k/100ms",
					     "3g/86400s", "1m/1500ms+512k", "0/0s" };

	for (size_t i = 0; i < array_size(rates); i++) {
		Hearth__V1__TokenBucket bucket = HEARTH__V1__TOKEN_BUCKET__INIT;
		char text[RATE_TEXT_MAX];

		cr_assert_eq(rate_parse(&bucket, RATE_BYTES, rates[i]), 0, "%s", rates[i]);
		cr_assert_str_eq(rate_text(&bucket, RATE_BYTES, text), rates[i]);
	}
}

Test(ctl_request, operations_have_no_multiples)
{
	Hearth__V1__TokenBucket bucket = HEARTH__V1__TOKEN_BUCKET__INIT;
	char text[RATE_TEXT_MAX];

	cr_assert_eq(rate_parse(&bucket, RATE_OPERATIONS, "2048/1m"), 0);

	cr_assert_str_eq(rate_text(&bucket, RATE_OPERATIONS, text), "2048/60s");
}

Test(ctl_request, the_largest_rate_has_64_bits)
{
	Hearth__V1__TokenBucket bucket = HEARTH__V1__TOKEN_BUCKET__INIT;

	cr_assert_eq(rate_parse(&bucket, RATE_BYTES, "17179869183g/1s"), 0);
	cr_assert_eq(bucket.size, UINT64_C(17179869183) << 30);
	cr_assert_eq(rate_parse(&bucket, RATE_BYTES, "17179869184g/1s"), -ERANGE);
	cr_assert_eq(rate_parse(&bucket, RATE_BYTES, "18446744073709551615/1s"), 0);
	cr_assert_eq(bucket.size, UINT64_MAX);
	cr_assert_eq(rate_parse(&bucket, RATE_BYTES, "18446744073709551616/1s"), -ERANGE);
}

Test(ctl_request, what_is_no_rate_is_refused_and_changes_nothing)
{
	static const char *const texts[] = { "",       "/",       "1",       "1/",     "/1s",
					     "m/1s",   "1/1",     "1/1s+",   "1/1s+x", "1t/1s",
					     "1M/1s",  "1.5m/1s", "-1/1s",   "1/-1s",  "1km/1s",
					     "1+2/1s", "1/1s/1s", "1/1500us" };

	for (size_t i = 0; i < array_size(texts); i++) {
		Hearth__V1__TokenBucket bucket = HEARTH__V1__TOKEN_BUCKET__INIT;

		cr_assert_eq(rate_parse(&bucket, RATE_BYTES, texts[i]), -EINVAL, "%s", texts[i]);
		cr_assert_eq(bucket.size, 0);
	}
}

/* What parts_parse() says of @text as parts of a drive that has an id, a mode and a flag. */
static const char *problem_of(const char *text)
{
	static const Part parts[] = {
		{ "id", PART_TEXT, offsetof(Hearth__V1__Drive, drive_id), NULL },
		{ "ro", PART_TRUE, offsetof(Hearth__V1__Drive, read_only), NULL },
		{ "cache", PART_ENUM, offsetof(Hearth__V1__Drive, cache_type),
		  &hearth__v1__cache_type__descriptor },
		{ 0 },
	};
	static char problem[OPTION_PROBLEM_MAX];
	cleanup_(message_freep) Hearth__V1__Drive *drive =
		message_new(&hearth__v1__drive__descriptor);

	cr_assert_eq(parts_parse(drive, parts, text, problem), -1);
	return problem;
}

Test(ctl_request, a_bad_part_is_told_apart)
{
	cr_assert_str_eq(problem_of("id=a,colour=red"), "'colour' is none of id=, ro, cache=");
	cr_assert_str_eq(problem_of("ro=1"), "ro takes no value");
	cr_assert_str_eq(problem_of("id"), "id needs a value");
	cr_assert_str_eq(problem_of("cache=x"), "cache: 'x' is none of unsafe, writeback");
}

Test(ctl_request, allowed_blocks_become_rules)
{
	check_spec(LINE("--allow", "10.0.0.0/8"),
		   "{\"egress\":{\"rules\":[{\"to\":[{\"cidr\":\"10.0.0.0/8\"}]}]}}");
	check_spec(LINE("--allow", "2001:db8::/32:tcp/443", "--allow", "any:udp/1-1023"),
		   "{\"egress\":{\"rules\":[{\"to\":[{\"cidr\":\"2001:db8::/32\"}],\"ports\":"
		   "[{\"protocol\":\"PROTOCOL_TCP\",\"port\":443}]},"
		   "{\"ports\":[{\"protocol\":\"PROTOCOL_UDP\",\"port\":1,\"endPort\":1023}]}]}}");
	check_spec(
		LINE("--allow", "example.org:tcp/443", "--allow", "*.example.net"),
		"{\"egress\":{\"rules\":[{\"ports\":[{\"protocol\":\"PROTOCOL_TCP\",\"port\":443}],"
		"\"fqdn\":[\"example.org\"]},{\"fqdn\":[\"*.example.net\"]}]}}");
	check_spec(LINE("--allow", "fd00::/8", "--allow", "dead:beef::/32:udp/53"),
		   "{\"egress\":{\"rules\":[{\"to\":[{\"cidr\":\"fd00::/8\"}]},"
		   "{\"to\":[{\"cidr\":\"dead:beef::/32\"}],"
		   "\"ports\":[{\"protocol\":\"PROTOCOL_UDP\",\"port\":53}]}]}}");
	check_spec(LINE("--allow", "any"), "{\"egress\":{\"rules\":[{}]}}");
	check_spec(LINE("--allow", "any:icmp"),
		   "{\"egress\":{\"rules\":[{\"ports\":[{\"protocol\":\"PROTOCOL_ICMP\"}]}]}}");
}

Test(ctl_request, what_is_no_block_with_ports_is_refused)
{
	static const char *const texts[] = {
		"",           "10.0.0.1", "everywhere",     "anything",      ":tcp",
		"any:",       "any:tcp/", "any:tcp/0",      "any:tcp/65536", "any:tcp/9-8",
		"any:tcp/9-", "any:gre",  "10.0.0.0/8:443",
	};

	for (size_t i = 0; i < array_size(texts); i++)
		cr_assert(refuses(LINE("--allow", texts[i])), "%s", texts[i]);
}

Test(ctl_request, a_policy_is_read_from_a_file_and_added_to)
{
	char path[32], bad[32];
	write_file(path, "{\"rules\": [{\"to\": [{\"cidr\": \"10.0.0.0/8\", \"except\": "
			 "[\"10.1.0.0/16\"]}]}]}");
	write_file(bad, "{\"rule\": []}");

	cleanup_free char *spec = spec_of(LINE("--egress-file", path, "--allow", "any:icmp"));
	bool refused = refuses(LINE("--egress-file", bad));
	(void)unlink(path);
	(void)unlink(bad);

	cr_assert_str_eq(spec, "{\"egress\":{\"rules\":[{\"to\":[{\"cidr\":\"10.0.0.0/8\","
			       "\"except\":[\"10.1.0.0/16\"]}]},"
			       "{\"ports\":[{\"protocol\":\"PROTOCOL_ICMP\"}]}]}}");
	cr_assert(refused);
}

Test(ctl_request, a_policy_may_be_yaml)
{
	char path[32];
	write_file(path, "# web\nrules:\n- to: [{cidr: 10.0.0.0/8}]\n  ports: [{port: 443}]\n");

	cleanup_free char *spec = spec_of(LINE("--egress-file", path));
	(void)unlink(path);

	cr_assert_str_eq(spec, "{\"egress\":{\"rules\":[{\"to\":[{\"cidr\":\"10.0.0.0/8\"}],"
			       "\"ports\":[{\"port\":443}]}]}}");
}

Test(ctl_request, an_interface_may_ask_for_addresses)
{
	check_spec(LINE("--interface", "id=a,ip=10.0.0.5,ip6=fd00::5"),
		   "{\"networkInterfaces\":[{\"interfaceId\":\"a\",\"ipv4Address\":\"10.0.0.5\","
		   "\"ipv6Address\":\"fd00::5\"}]}");
}
