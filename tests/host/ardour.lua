-- Copyright 2026 The HalfRemembered authors
-- SPDX-License-Identifier: ISC

-- ardour7-lua ardour.lua FOLDER PLUGIN_URI TRACKS
--
-- Ardour as a JACK client without a display: opens the session in FOLDER, or
-- makes it, with MIDI tracks A1, A2, ... that have the plugin and monitor their
-- input. Then obeys one command a line on standard input, and answers "done":
--
--   roll | stop | locate SAMPLE | set TRACK PARAMETER VALUE | save | quit

local folder, uri, tracks = arg[1], arg[2], tonumber (arg[3])

local function say (...)
  print (...)
  io.stdout:flush ()
end

local function die (reason)
  say ("FAILED: " .. reason)
  os.exit (1, true)
end

local backend = AudioEngine:set_backend ("JACK", "ardour", "")
if backend:isnil () then die ("no JACK backend") end

local saved = io.open (folder .. "/s.ardour")
local session
if saved then
  saved:close ()
  session = load_session (folder, "s")
else
  session = create_session (folder, "s", 48000)
end
if not session then die ("no session") end

local function add_track (name)
  local midi = ARDOUR.ChanCount (ARDOUR.DataType ("midi"), 1)
  local made = session:new_midi_track (midi, midi, true, ARDOUR.PluginInfo (), nil, nil, 1, name,
    ARDOUR.PresentationInfo.max_order, ARDOUR.TrackMode.Normal, false)
  for track in made:iter () do
    local plugin = ARDOUR.LuaAPI.new_plugin (session, uri, ARDOUR.PluginType.LV2, "")
    if plugin:isnil () or track:add_processor_by_index (plugin, 0, nil, true) ~= 0 then
      die ("the plugin does not load")
    end
    session:set_control (track:monitoring_control (), 1, PBD.GroupControlDisposition.NoGroup)
  end
end

for i = 1, tracks do
  if session:route_by_name ("A" .. i):isnil () then add_track ("A" .. i) end
end

-- Set a control port, known by its name, of the track's plugin
local function set (track, name, value)
  local insert = session:route_by_name (track):nth_plugin (0):to_insert ()
  local plugin = insert:plugin (0)
  local nth = 0
  for i = 0, plugin:parameter_count () - 1 do
    if plugin:parameter_is_control (i) then
      if plugin:parameter_label (i) == name then
        return ARDOUR.LuaAPI.set_plugin_insert_param (insert, nth, value)
      end
      nth = nth + 1
    end
  end
  return false
end

local by_user = ARDOUR.TransportRequestSource.TRS_UI
local commands = {
  roll = function () session:request_roll (by_user) end,
  stop = function () session:request_stop (false, false, by_user) end,
  locate = function (sample)
    session:request_locate (tonumber (sample), false, ARDOUR.LocateTransportDisposition.MustStop, by_user)
  end,
  set = function (track, name, value)
    if not set (track, name, tonumber (value)) then say ("FAILED: no parameter " .. name) end
  end,
  save = function () session:save_state ("", false, false, false, false, false) end,
}

sleep (1)
if not AudioEngine:running () then die ("the JACK server let go") end
say ("ready")
for line in io.lines () do
  local words = {}
  for word in line:gmatch ("%S+") do table.insert (words, word) end
  if words[1] == "quit" then break end
  commands[words[1]] (table.unpack (words, 2))
  sleep (.3)
  if not AudioEngine:running () then die ("the JACK server let go") end
  say ("done", line, session:transport_sample ())
end
session:close ()
say ("closed")
quit ()
