/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file realtime.h
 * The mark of every function that the audio thread runs: it does not allocate,
 * lock, make a system call or touch the store's map. tests/test_realtime.c
 * proves what the mark promises. */

#ifndef HR_REALTIME_H
#define HR_REALTIME_H

#define HR_REALTIME

/** The same, where it runs once in a while: kept apart from what each event runs through. */
#define HR_REALTIME_SELDOM HR_REALTIME __attribute__((cold, noinline))

#endif
