/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Command line options, declared in tables and parsed once.
 *
 * A table of Option rows (ended by one without a name) says what a command
 * takes; help and shell completion are made from the same rows. Values are
 * checked while parsing, so that the accessors cannot fail. Nothing is copied:
 * what is returned points into argv.
 */

#include "base/cleanup.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum OptionType {
	OPTION_FLAG,
	OPTION_TEXT,
	OPTION_PATH,
	OPTION_NUMBER,
	OPTION_DURATION, /* "1h30m", "500ms", "0" */
	OPTION_ENUM,     /* a value of an enum of the contract, in short form: "on-failure" */
	OPTION_CHOICE,
} OptionType;

typedef struct Option {
	const char *name; /* without dashes */
	OptionType type;
	char letter;       /* 0: none */
	bool many;         /* may be repeated; enums also "a,b" */
	const char *value; /* what help calls its value */
	const char *help;
	const ProtobufCEnumDescriptor *names; /* OPTION_ENUM */
	const char *choices;                  /* OPTION_CHOICE: "bash|zsh" */
} Option;

typedef struct GivenOption {
	const Option *option;
	const char *value; /* NULL for a flag */
} GivenOption;

enum {
	OPTION_TABLES = 2,
	OPTION_PROBLEM_MAX = 256
};

typedef struct Options {
	const Option *tables[OPTION_TABLES]; /* either may be NULL */
	GivenOption *given;
	size_t n_given;
	const char **arguments; /* what is no option, in order */
	size_t n_arguments;
} Options;

void options_release(Options *options);

/**
 * options_parse() - add what @words say to @options
 * @words:		ended by NULL
 * @stop_at_argument:	leave the first word that is no option, and all after it
 * @problem:		on failure, what is wrong, for the user
 *
 * Options and arguments may be mixed; "--" ends options. Letters of flags may share a word: "-it".
 *
 * Return: the number of words consumed, or -1.
 */
int options_parse(Options *options, const char *const *words, bool stop_at_argument,
		  char problem[static OPTION_PROBLEM_MAX]) must_check;

bool options_has(const Options *options, const char *name);
/* Was any of the options called @names given? */
bool options_has_any(const Options *options, const char *const *names, size_t count);
/* The last value given, or NULL. */
const char *options_text(const Options *options, const char *name);
/* The last value given, or @otherwise. */
uint64_t options_number(const Options *options, const char *name, uint64_t otherwise);
/* In microseconds. */
int64_t options_duration(const Options *options, const char *name, int64_t otherwise);
int options_enum(const Options *options, const char *name, int otherwise);
/* All values of an enum option, comma lists included: fills @ret up to @max, returns how many. */
size_t options_enums(const Options *options, const char *name, int *ret, size_t max);
/* Walks the values of a repeated option: @at is 0 at first; NULL at the end. */
const char *options_next(const Options *options, const char *name, size_t *at);

/* A duration in microseconds: 0, or -EINVAL (no duration), -ERANGE (beyond a thousand years). */
int duration_parse(int64_t *ret, const char *text) must_check;

/*
 * Enums of the contract in short form: VM_STATE_RUNNING is "running",
 * RESTART_MODE_ON_FAILURE is "on-failure". Every enum's first value is ..._UNSPECIFIED.
 */
int enum_parse(int *ret, const ProtobufCEnumDescriptor *names, const char *text, size_t length)
	must_check;
/* Writes the short form of @value, or its number if it has no name; returns @buffer. */
const char *enum_text(const ProtobufCEnumDescriptor *names, int value, char buffer[static 40]);
