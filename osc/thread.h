/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file thread.h
 * How the endpoint's threads are started. Any thread.
 */

#ifndef HR_OSC_THREAD_H
#define HR_OSC_THREAD_H

#include <pthread.h>
#include <stddef.h>

/** Start an ordinary thread, whatever the caller's priority, deaf to the host's signals. A
 * host that locks its memory pins the stack whole: not the 8 MB that it would get by
 * itself. Returns what pthread_create() does. */
int hr_osc_thread_start(pthread_t* thread, size_t stack_bytes, void* (*run)(void* data),
                        void* data);

#endif
