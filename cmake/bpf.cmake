# Programs for the kernel's BPF machine, compiled at build time and embedded in the agent.

find_program(BPF_CLANG NAMES clang clang-19 clang-16 clang-14 REQUIRED)
find_program(BPF_STRIP NAMES llvm-strip llvm-strip-19 llvm-strip-16 llvm-strip-14 REQUIRED)

# hearth_bpf(<target> <name> <source>): <source> as <name>[] and <name>_size, in a file of <target>.
# Its debug information is left out, but for that on types (BTF), which the kernel wants.
function(hearth_bpf target name source)
	set(dir ${CMAKE_BINARY_DIR}/bpf)
	file(MAKE_DIRECTORY ${dir})
	add_custom_command(
		OUTPUT ${dir}/${name}.o
		COMMAND ${BPF_CLANG} -target bpf -mcpu=v3 -O2 -g -std=gnu11 -fno-strict-aliasing
			-Wall -Wextra $<$<BOOL:${HEARTH_WERROR}>:-Werror> -I${CMAKE_SOURCE_DIR}
			-idirafter /usr/include/${CMAKE_LIBRARY_ARCHITECTURE}
			-MD -MF ${dir}/${name}.d -MT bpf/${name}.o
			-c ${CMAKE_SOURCE_DIR}/${source} -o ${dir}/${name}.o
		COMMAND ${BPF_STRIP} -g ${dir}/${name}.o
		DEPENDS ${CMAKE_SOURCE_DIR}/${source} DEPFILE ${dir}/${name}.d
		COMMAND_EXPAND_LISTS VERBATIM)
	add_custom_command(
		OUTPUT ${dir}/${name}.c
		COMMAND ${CMAKE_COMMAND} -DNAME=${name} -DINPUT=${dir}/${name}.o
			-DOUTPUT=${dir}/${name}.c -P ${CMAKE_SOURCE_DIR}/cmake/embed.cmake
		DEPENDS ${dir}/${name}.o ${CMAKE_SOURCE_DIR}/cmake/embed.cmake VERBATIM)
	target_sources(${target} PRIVATE ${dir}/${name}.c)
endfunction()
