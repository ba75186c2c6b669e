/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file upgrade.h
 * Brings a store of an older format up to date. */

#ifndef HR_STORE_UPGRADE_H
#define HR_STORE_UPGRADE_H

#include "store/internal.h"

/** Take the steps from `format` to HR_FORMAT_VERSION in `txn`, which writes and has
 * the databases of `store` open: all of them reach the disk with its commit, or none. Takes
 * memory for each page that it writes, up to LMDB's bound of 512 MiB. Returns an
 * LMDB or errno code. */
int hr_upgrade(HrStore* store, MDB_txn* txn, uint32_t format);

#endif
