/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file shell_quote.h
 * A path in a command that a person is told to type.
 *
 * Source: POSIX.1-2017, Shell Command Language, 2.2 Quoting.
 *
 * Thread: any. Nothing here allocates.
 */

#ifndef HR_STORE_SHELL_QUOTE_H
#define HR_STORE_SHELL_QUOTE_H

#include <limits.h>
#include <stddef.h>

/** Room for any path, with the NUL: a ' takes four bytes. */
enum { HR_SHELL_QUOTE_SIZE = 4 * PATH_MAX + sizeof "''" };

/** Write `path` so that a shell takes it for one word, as it is. If `size` bytes (5 at least) do
 * not hold it, write "FILE": a part of a path leads elsewhere, and a quote left open swallows what
 * is typed next. Returns `text`. */
const char* hr_shell_quote(char* text, size_t size, const char* path);

#endif
