/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The embedded descriptor set: what protoc knows of the contract, for what
 * protobuf-c's own descriptors lack (which methods stream) and for reflection.
 *
 * It is unpacked when somebody asks and freed afterwards: a hundred KiB that
 * an idle agent need not hold.
 */

#include "base/cleanup.h"

#include <google/protobuf/descriptor.pb-c.h>
#include <stdbool.h>

typedef Google__Protobuf__FileDescriptorSet DescriptorSet;
typedef Google__Protobuf__FileDescriptorProto DescriptorFile;

DescriptorSet *descriptors_open(void);
void descriptors_close(DescriptorSet *set);
DEFINE_CLEANUP(DescriptorSet *, descriptors_close);

/* The method @method of the fully named @service, or NULL. */
const Google__Protobuf__MethodDescriptorProto *
descriptors_method(const DescriptorSet *set, const char *service, const char *method);

const DescriptorFile *descriptors_file(const DescriptorSet *set, const char *name);

/* The file that declares the fully named service, method, message, field, enum or enum value. */
const DescriptorFile *descriptors_file_of(const DescriptorSet *set, const char *symbol);
