# Writes INPUT's bytes as a C array into OUTPUT.
file(READ ${INPUT} bytes HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
string(REGEX REPLACE "((0x..,)(0x..,)(0x..,)(0x..,)(0x..,)(0x..,)(0x..,)(0x..,))" "\\1\n" bytes "${bytes}")
file(WRITE ${OUTPUT} "#include <stddef.h>
extern const unsigned char proto_descriptors[];
extern const size_t proto_descriptors_size;
const unsigned char proto_descriptors[] = {
${bytes}};
const size_t proto_descriptors_size = sizeof proto_descriptors;
")
