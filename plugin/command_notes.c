/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/command_call.h"

#include <string.h>

static void tell_note(HrCall* call, const HrNote* note, const char* author)
{
  const HrEmotion* const emotion = &note->emotion;
  HR_CALL_ROW(call, hr_value_integer(note->id), hr_value_tick(note->tick),
              hr_value_tick(note->end_tick), hr_value_text(author), hr_value_integer(note->rating),
              hr_value_integer(emotion->known != 0), hr_value_number((double)emotion->valence),
              hr_value_number((double)emotion->arousal), hr_value_number((double)emotion->agency),
              hr_value_text(note->text));
}

/** Add what was said to the current branch. */
static HrStatus add_note(HrCall* call, HrNote* note)
{
  HrSession* const session = call->session;
  HrTxn* txn = NULL;
  note->kind = HR_NOTE_TEXT;
  note->branch = session->branch;
  note->end_tick = note->tick;
  HrStatus status = hr_session_begin(session, &txn);
  status = status ? status : hr_author_id(txn, call->author, &note->author);
  status = status ? status : hr_note_add(txn, note, &note->id);
  if (status) {
    hr_txn_abort(txn);
    return status == HR_ERR_ARGUMENT
               ? hr_error(call->error, status,
                          "A note's text has 1 to %d bytes of UTF-8 without control characters.",
                          HR_NOTE_TEXT_MAX)
               : hr_call_fail(call, status);
  }
  status = hr_session_commit(session, txn);
  if (status) {
    return hr_call_fail(call, status);
  }
  hr_session_touch(session);
  tell_note(call, note, call->author);
  return HR_OK;
}

/** Add it here and now, with the text at `index` if there is one. */
static HrStatus add_note_here(HrCall* call, HrNote* note, size_t index)
{
  const bool spoken = index < call->count;
  if (spoken && call->args[index].type != HR_VALUE_TEXT) {
    return hr_error(call->error, HR_ERR_ARGUMENT, "%s takes a text at its end.", call->info->verb);
  }
  note->text = spoken ? call->args[index].text : "";
  HrStatus status = hr_call_prepare_here(call);
  status = status ? status : hr_call_here(call, &note->tick);
  return status ? status : add_note(call, note);
}

HrStatus hr_run_note(HrCall* call)
{
  HrNote note = {0};
  if (!call->count || call->args[0].type != HR_VALUE_TEXT || !*call->args[0].text) {
    return hr_error(call->error, HR_ERR_ARGUMENT, "note needs a text.");
  }
  if (call->count < 2) {
    return add_note_here(call, &note, 0);
  }
  note.text = call->args[0].text;
  HrStatus status = hr_call_prepare_here(call);
  status = status ? status : hr_call_position(call, 1, &note.tick);
  return status ? status : add_note(call, &note);
}

HrStatus hr_run_rate(HrCall* call)
{
  HrNote note = {0};
  int64_t rating = -1;
  if (!call->count || !hr_call_integer(&call->args[0], &rating) || rating < 0 ||
      rating > HR_NOTE_RATING_MAX) {
    return hr_error(call->error, HR_ERR_ARGUMENT, "rate takes 1 to %d.", HR_NOTE_RATING_MAX);
  }
  note.rating = (uint32_t)rating;
  return rating ? add_note_here(call, &note, 1) : HR_OK;
}

HrStatus hr_run_emotion(HrCall* call)
{
  enum { SCALES = 3 };
  double scale[SCALES] = {0.0};
  bool sound = call->count >= SCALES;
  for (size_t i = 0; sound && i < SCALES; ++i) {
    sound = hr_call_number(&call->args[i], &scale[i]) && scale[i] >= -1.0 && scale[i] <= 1.0;
  }
  if (!sound) {
    return hr_error(call->error, HR_ERR_ARGUMENT,
                    "emotion takes three numbers from -1 to 1: valence, arousal and agency.");
  }
  HrNote note = {.emotion = {HR_NOTE_VALENCE | HR_NOTE_AROUSAL | HR_NOTE_AGENCY, (float)scale[0],
                             (float)scale[1], (float)scale[2]}};
  return add_note_here(call, &note, SCALES);
}

HrStatus hr_run_notes(HrCall* call)
{
  const HrSession* const session = call->session;
  HrTxn* txn = NULL;
  HrNote note = {.tick = INT64_MIN};
  if (!session->binding.store) {
    return hr_call_no_store(call);
  }
  if (hr_call_settle(call)) {
    return HR_ERR_BUSY;
  }
  HrStatus status = session->branch ? hr_txn_begin(session->binding.store, HR_READ, &txn) : HR_END;
  while (!status && !(status = hr_note_next(txn, session->branch, note.tick, note.id, &note))) {
    char author[HR_NAME_MAX + 1] = "";
    if (note.kind == HR_NOTE_TEXT && !note.hidden) {
      hr_author_name(txn, note.author, author);
      tell_note(call, &note, author);
    }
  }
  hr_txn_abort(txn);
  return status == HR_END ? HR_OK : hr_call_fail(call, status);
}
