-- Copyright 2026 The HalfRemembered authors
-- SPDX-License-Identifier: ISC

-- A plugin for Ardour: MIDI passes through, and each message of up to three
-- bytes also becomes one sample, its bytes the digits of a fraction. Audio that
-- is exported then tells to the frame what MIDI there was; wav_events.c reads it.
-- One of several messages on one frame takes the next free one.

ardour {
  ["type"] = "dsp",
  name = "MIDI to audio",
  category = "Utility",
  license = "ISC",
  author = "The HalfRemembered authors",
  description = "Writes MIDI down in audio"
}

function dsp_ioconfig ()
  return { { midi_in = 1, midi_out = 1, audio_in = 0, audio_out = 2 } }
end

local waiting = {} -- Events that have no sample of their own yet

function dsp_run (_, outs, frames)
  local samples = outs[1]:array ()
  for i = 1, #outs do ARDOUR.DSP.memset (outs[i], 0, frames) end
  for i, event in ipairs (midiin) do
    midiout[i] = event
    table.insert (waiting, event)
  end
  local free = 1
  while #waiting > 0 do
    local time = math.max (free, waiting[1].time)
    if time > frames then
      for _, event in ipairs (waiting) do event.time = 1 end -- The next block's first
      return
    end
    local bytes = table.remove (waiting, 1).data
    samples[time] = (bytes[1] << 16 | (bytes[2] or 0) << 8 | (bytes[3] or 0)) / (1 << 24)
    free = time + 1
  end
end
