# How every target in this tree is built, and every test is run.

add_library(hearth_options INTERFACE)
target_include_directories(hearth_options INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_definitions(hearth_options INTERFACE
	_GNU_SOURCE HEARTH_VERSION="${PROJECT_VERSION}")
target_compile_options(hearth_options INTERFACE
	-pedantic -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes
	-Wformat=2 -Wvla -Wundef -Wcast-qual -Wpointer-arith -Wwrite-strings
	-fno-omit-frame-pointer
	-UNDEBUG # assertions stay in every build
	$<$<C_COMPILER_ID:Clang>:-Wthread-safety>
	$<$<BOOL:${HEARTH_WERROR}>:-Werror>)
if(HEARTH_SANITIZE)
	set(sanitize -fsanitize=${HEARTH_SANITIZE} -fno-sanitize-recover=all)
	target_compile_options(hearth_options INTERFACE ${sanitize})
	target_link_options(hearth_options INTERFACE ${sanitize})
endif()
if(HEARTH_FUZZ)
	target_compile_options(hearth_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

# hearth_library(<folder> [EXCEPT <file>...] LINK <target>...): every .c file in the folder; its name
# is the folder's, with "_" for "/".
function(hearth_library folder)
	cmake_parse_arguments(arg "" "" "EXCEPT;LINK" ${ARGN})
	file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${folder}/*.c)
	foreach(file ${arg_EXCEPT})
		list(REMOVE_ITEM sources ${CMAKE_SOURCE_DIR}/${folder}/${file})
	endforeach()
	string(REPLACE "/" "_" name ${folder})
	add_library(${name} STATIC ${sources})
	target_link_libraries(${name} PUBLIC hearth_options ${arg_LINK})
endfunction()

# hearth_program(<name> <file>... LINK <target>...)
function(hearth_program name)
	cmake_parse_arguments(arg "" "" "LINK" ${ARGN})
	add_executable(${name} ${arg_UNPARSED_ARGUMENTS})
	target_link_libraries(${name} PRIVATE hearth_options ${arg_LINK})
endfunction()

# hearth_program_from(<name> <folder> LINK <target>...): every .c file in the folder.
function(hearth_program_from name folder)
	cmake_parse_arguments(arg "" "" "LINK" ${ARGN})
	file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${folder}/*.c)
	hearth_program(${name} ${sources} LINK ${arg_LINK})
endfunction()

# hearth_static_program(<name> <folder>): every .c file in the folder, against musl and without
# anything of the host's, so that it runs in any guest. Sanitizers and CMAKE_BUILD_TYPE are not for it.
function(hearth_static_program name folder)
	find_program(MUSL_GCC musl-gcc REQUIRED)
	file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${folder}/*.c)
	file(GLOB headers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${folder}/*.h)
	set(program ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/${name})
	# The kernel's headers come last: the C library beside them is another one.
	add_custom_command(OUTPUT ${program}
		COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}
		COMMAND ${MUSL_GCC} -std=c11 -D_GNU_SOURCE -DHEARTH_VERSION="${PROJECT_VERSION}"
			-I${CMAKE_SOURCE_DIR} -idirafter /usr/include
			-idirafter /usr/include/${CMAKE_LIBRARY_ARCHITECTURE} -Wall -Wextra
			$<$<BOOL:${HEARTH_WERROR}>:-Werror> -Os -static -s -ffunction-sections
			-fdata-sections -Wl,--gc-sections -o ${program} ${sources}
		DEPENDS ${sources} ${headers} ${CMAKE_SOURCE_DIR}/base/cleanup.h
		COMMAND_EXPAND_LISTS VERBATIM)
	add_custom_target(${name} ALL DEPENDS ${program})
endfunction()

# tests/unit/test_*.c: a Criterion suite each. Criterion cannot start under ThreadSanitizer, and
# without abort_on_error it reports a leaking test as passed.
# tests/stress/stress_*.c: plain programs that exit 0, under every sanitizer.
function(hearth_tests)
	set(environment
		"ASAN_OPTIONS=abort_on_error=1:detect_leaks=1"
		"UBSAN_OPTIONS=print_stacktrace=1"
		"TSAN_OPTIONS=ignore_noninstrumented_modules=1:suppressions=${CMAKE_SOURCE_DIR}/tests/tsan.supp"
		"HEARTH_BIN=${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
	file(GLOB suites CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/unit/test_*.c)
	file(GLOB plain CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/stress/stress_*.c)
	if(HEARTH_SANITIZE MATCHES "thread")
		set(suites)
	endif()
	hearth_library(tests/support LINK agent PkgConfig::YAML)
	target_compile_definitions(tests_support PUBLIC HEARTH_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
	foreach(file ${suites} ${plain})
		get_filename_component(name ${file} NAME_WE)
		hearth_program(${name} ${file} LINK tests_support agent_ctl agent_metrics runtime_guest)
		if(name MATCHES "^test_")
			target_link_libraries(${name} PRIVATE PkgConfig::CRITERION)
		endif()
		add_test(NAME ${name} COMMAND ${name})
		set_tests_properties(${name} PROPERTIES TIMEOUT 300 ENVIRONMENT "${environment}")
	endforeach()
endfunction()

# tests/bench/egress/, tests/bench/images/: programs that tests/bench/run runs.
function(hearth_benchmarks)
	hearth_program_from(bench_egress tests/bench/egress LINK tests_support PkgConfig::LIBBPF)
	hearth_program_from(bench_images tests/bench/images LINK runtime)
	hearth_program_from(bench_pager tests/bench/pager LINK tests_support)
endfunction()

# hearthd and hearth-keeper with crash points, in bin/crash: the same objects, with each call of
# tests/crash/calls led to tests/crash/wraps*.c by the linker.
function(hearth_crash_programs)
	set(folder ${CMAKE_SOURCE_DIR}/tests/crash)
	file(STRINGS ${folder}/calls calls)
	list(TRANSFORM calls PREPEND "LINKER:--wrap=" OUTPUT_VARIABLE wraps)
	file(GLOB keeper CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/runtime/keeper/*.c)
	hearth_program(crash_hearthd agent/hearthd.c ${folder}/points.c ${folder}/wraps.c
		${folder}/wraps_library.c LINK agent_metrics)
	hearth_program(crash_keeper ${keeper} ${folder}/points.c ${folder}/wraps.c
		LINK base PkgConfig::JANSSON)
	set_target_properties(crash_hearthd PROPERTIES OUTPUT_NAME hearthd)
	set_target_properties(crash_keeper PROPERTIES OUTPUT_NAME hearth-keeper)
	foreach(target crash_hearthd crash_keeper)
		target_link_options(${target} PRIVATE ${wraps})
		set_target_properties(${target} PROPERTIES
			RUNTIME_OUTPUT_DIRECTORY ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/crash)
	endforeach()
endfunction()

# tests/fuzz/fuzz_*.c: a libFuzzer target each, with seeds in tests/fuzz/seeds/<name>/.
function(hearth_fuzzers)
	file(GLOB targets CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_*.c)
	foreach(file ${targets})
		get_filename_component(name ${file} NAME_WE)
		hearth_program(${name} ${file} LINK agent runtime_guest)
		target_link_options(${name} PRIVATE -fsanitize=fuzzer)
	endforeach()
endfunction()
