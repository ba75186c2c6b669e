/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/session_internal.h"

#include <stdio.h>
#include <string.h>

/** How often the file is looked for, and so how long whoever moved it has to put it
 * back: programs that replace a file are done by then. */
#define WATCH_INTERVAL_NS 1000000000

/** Let a ring drain to the store that was written anew. */
static void rebind(HrSession* session, HrBinding* binding, HrStore* lost, const char* path)
{
  HrStore* store = NULL;
  if (binding->store == lost && !hr_session_open_store(session, path, 0, &store, NULL)) {
    binding->store = store;
    hr_capture_bind(binding->capture, store, binding->tree);
    hr_session_close_store(session, lost);
  }
}

/** Go on in the store that was written anew, with all that is played. */
static void move_to(HrSession* session, HrStore* store)
{
  HrStore* const lost = session->binding.store;
  for (unsigned i = 0; i < session->retired_count; ++i) {
    rebind(session, &session->retired[i], lost, hr_store_path(store));
  }
  rebind(session, &session->binding, lost, hr_store_path(store));
  hr_prepared_forget(session->prepared, 0);
  hr_session_touch_tree(session);
}

/** What to know once it is safe: nothing, if the store is where it was. */
static void tell_place(HrSession* session, const char* before)
{
  const char* const now = hr_store_path(session->binding.store);
  HrError error;
  hr_error(&error, HR_ERR_EXISTS,
           "%.110s was replaced by another file, which is left as it is. All that was recorded "
           "there, and what is played now, is in %.110s: choose that as the store from now on.",
           before, now);
  hr_session_set_trouble(session, strcmp(before, now) != 0 ? &error : NULL);
}

static void relocate(HrSession* session)
{
  HrStore* const lost = session->binding.store;
  HrStore* store = NULL;
  HrError error;
  char before[4096];
  snprintf(before, sizeof before, "%s", hr_store_path(lost));
  const unsigned depth = hr_session_release(session);
  const HrStatus status = hr_store_relocate(lost, &store, &error);
  hr_session_retake(session, depth);
  if (status) {
    hr_session_set_trouble(session, &error);
    return;
  }
  move_to(session, store);
  hr_session_close_store(session, store);
  session->store_lost = false;
  session->writing_fails = false;
  tell_place(session, before);
  hr_session_drain(session, true);
}

void hr_session_save_lost_store(HrSession* session)
{
  HrStore* const store = session->binding.store;
  if (session->engine && store && hr_store_is_lost(store)) {
    relocate(session);
  }
}

void hr_session_watch_store(HrSession* session)
{
  const int64_t now = hr_monotonic_ns();
  if (now - session->watched_at < WATCH_INTERVAL_NS) {
    return;
  }
  session->watched_at = now;
  const bool lost = hr_store_is_lost(session->binding.store);
  if (lost && session->store_lost) {
    relocate(session);
  } else if (lost) {
    hr_session_note_failure(session, HR_ERR_NOT_FOUND);
    session->store_lost = true;
  } else if (session->store_lost) {
    session->store_lost = false;
    session->retry_at = 0;
    hr_session_set_trouble(session, NULL);
  }
}
