# The contract's C code and its descriptor set, generated at build time.

find_program(PROTOC protoc REQUIRED)
find_program(PROTOC_C protoc-c REQUIRED)
find_path(PROTOBUF_INCLUDE google/protobuf/descriptor.proto REQUIRED)

set(own_protos
	hearth/v1/vm.proto hearth/v1/node.proto hearth/v1/egress.proto hearth/v1/guest.proto
	hearth/v1/image.proto
	hearth/v1/snapshot.proto
	google/rpc/status.proto google/rpc/error_details.proto
	grpc/health/v1/health.proto
	grpc/reflection/v1/reflection.proto grpc/reflection/v1alpha/reflection.proto)
set(known_protos
	google/protobuf/any.proto google/protobuf/descriptor.proto google/protobuf/duration.proto
	google/protobuf/field_mask.proto google/protobuf/timestamp.proto)

set(proto_dir ${CMAKE_BINARY_DIR}/proto)
file(MAKE_DIRECTORY ${proto_dir})
list(TRANSFORM own_protos PREPEND ${CMAKE_SOURCE_DIR}/proto/ OUTPUT_VARIABLE inputs)
foreach(file ${known_protos})
	list(APPEND inputs ${PROTOBUF_INCLUDE}/${file})
endforeach()
set(outputs)
foreach(file ${own_protos} ${known_protos})
	string(REGEX REPLACE "proto$" "pb-c.c" output ${proto_dir}/${file})
	list(APPEND outputs ${output})
endforeach()

add_custom_command(
	OUTPUT ${outputs}
	COMMAND ${PROTOC_C} -I${CMAKE_SOURCE_DIR}/proto -I${PROTOBUF_INCLUDE} --c_out=${proto_dir} ${inputs}
	DEPENDS ${inputs} VERBATIM)
add_custom_command(
	OUTPUT ${proto_dir}/descriptors.bin
	COMMAND ${PROTOC} -I${CMAKE_SOURCE_DIR}/proto -I${PROTOBUF_INCLUDE} --include_imports
		--descriptor_set_out=${proto_dir}/descriptors.bin ${inputs}
	DEPENDS ${inputs} VERBATIM)
# The set as an array: proto_descriptors[], proto_descriptors_size.
add_custom_command(
	OUTPUT ${proto_dir}/descriptors.c
	COMMAND ${CMAKE_COMMAND} -DNAME=proto_descriptors -DINPUT=${proto_dir}/descriptors.bin
		-DOUTPUT=${proto_dir}/descriptors.c -P ${CMAKE_SOURCE_DIR}/cmake/embed.cmake
	DEPENDS ${proto_dir}/descriptors.bin ${CMAKE_SOURCE_DIR}/cmake/embed.cmake VERBATIM)

# Generated code keeps its own style: no warnings, no sanitizer noise from casts.
add_library(proto STATIC ${outputs} ${proto_dir}/descriptors.c)
target_include_directories(proto SYSTEM PUBLIC ${proto_dir})
target_link_libraries(proto PUBLIC PkgConfig::PROTOBUF_C)
if(HEARTH_SANITIZE)
	target_compile_options(proto PRIVATE -fsanitize=${HEARTH_SANITIZE})
endif()
