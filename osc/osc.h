/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file osc.h
 * The OSC endpoint: one UDP socket and one thread for all instances of the
 * process. It takes commands from controllers to hr_command_run() and tells
 * subscribers what changed. It also does the sessions' periodic work about
 * four times a second, should a host lose its worker's messages.
 *
 * Socket: 127.0.0.1, the first free port of 64 from 9770 up, or from $HR_OSC_PORT.
 * Other machines are answered only as $HR_OSC_LISTEN and $HR_OSC_ALLOW say (allow_list.h).
 * Its URL is written to $XDG_RUNTIME_DIR/halfremembered/osc-<pid>.url, or, where
 * there is none, /tmp/halfremembered-<uid>/osc-<pid>.url.
 *
 * Threads: any but the audio thread. hr_osc_attach() and hr_osc_detach() wait
 * for the command being run, if any, and for the session's mutex, but for no more than 10 s each;
 * neither may be called with a lock held that a session's work could want.
 */

#ifndef HR_OSC_H
#define HR_OSC_H

#include "plugin/session.h"
#include "store/status.h"

#include <stdbool.h>

/** Serve `session`, which stays the caller's, until hr_osc_detach(). The first
 * call of the process starts the thread.
 *
 * Errors stop nothing; `error` (may be NULL) says what to do:
 * - HR_OK: served. A text in `error` is a warning (no URL file, say), an empty
 *   one means all is well.
 * - HR_ERR_BUSY (all ports taken), HR_ERR_ARGUMENT ($HR_OSC_PORT), HR_ERR_IO: no
 *   socket. The session's periodic work is done all the same; the next attach of
 *   the process tries for a socket again.
 * - HR_ERR_NO_MEMORY, HR_ERR_LIMIT: no thread. The session is not served.
 * - HR_ERR_BUSY as well if a command hangs: it is not served either.
 * - HR_ERR_EXISTS: the session is served already. */
HrStatus hr_osc_attach(HrSession* session, HrError* error);

/** Stop serving `session`. After it returns no call touches the session. The
 * last one stops the thread, closes the socket and removes the URL file. Fine
 * for a session that is not served. False if a command hangs, as its disk does not
 * answer: then the session is served on, and must not be freed. */
bool hr_osc_detach(HrSession* session);

/** Where controllers send to, "osc.udp://127.0.0.1:9770/"; "" while there is no
 * socket. The text stays as it is until the last detach of the process. */
const char* hr_osc_url(void);

#endif
