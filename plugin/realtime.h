/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file realtime.h
 * The mark of every function that the audio thread runs: it does not allocate,
 * lock, make a system call or touch the store's map. tests/test_realtime.c
 * proves what the mark promises. */

#ifndef HR_REALTIME_H
#define HR_REALTIME_H

#define HR_REALTIME

#endif
