/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file thread.h
 * How the endpoint's threads are started. Any thread.
 */

#ifndef HR_OSC_THREAD_H
#define HR_OSC_THREAD_H

#include <pthread.h>

/** Start an ordinary thread, whatever the caller's priority: with a small stack, and deaf
 * to the host's signals. Returns what pthread_create() does. */
int hr_osc_thread_start(pthread_t* thread, void* (*run)(void* data), void* data);

#endif
