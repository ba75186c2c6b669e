-- Copyright 2026 The HalfRemembered authors
-- SPDX-License-Identifier: ISC

-- ardour7-lua ardour.lua BACKEND FOLDER PLUGIN_URI
--
-- Ardour without a display: opens the session in FOLDER, or makes one. Then
-- obeys one command a line on standard input, and answers "done". Places are
-- samples. A track's plugin is the first on it.
--
--   track NAME                    add a MIDI track with the plugin, its input monitored
--   audible TRACK                 add midi_to_audio.lua behind it
--   set TRACK PARAMETER VALUE     set a control port of the plugin, known by its name
--   automate TRACK PARAMETER PLACE VALUE
--                                 add a point to its automation, which is in play mode, in steps
--   range loop|session START END  in the session as it is saved: from the next start on
--   roll | loop | stop | locate PLACE
--   save
--   quit

local backend, folder, uri = arg[1], arg[2], arg[3]

local function say (...)
  print (...)
  io.stdout:flush ()
end

local function die (reason)
  say ("FAILED: " .. reason)
  os.exit (1, true)
end

if AudioEngine:set_backend (backend, "ardour", ""):isnil () then die ("no backend " .. backend) end

local path = folder .. "/s.ardour"
local saved = io.open (path)
local session
if saved then
  saved:close ()
  session = load_session (folder, "s")
else
  session = create_session (folder, "s", 48000)
end
if not session then die ("no session") end

-- ---- Tracks ------------------------------------------------------------------

local function track (name)
  local found = session:route_by_name (name)
  if found:isnil () then die ("no track " .. name) end
  return found
end

local function add (track, plugin, place)
  if plugin:isnil () or track:add_processor_by_index (plugin, place, nil, true) ~= 0 then
    die ("a plugin does not load")
  end
end

local function add_track (name)
  local midi = ARDOUR.ChanCount (ARDOUR.DataType ("midi"), 1)
  local strict = false -- Else the track has no outputs for audio
  local made = session:new_midi_track (midi, midi, strict, ARDOUR.PluginInfo (), nil, nil, 1, name,
    ARDOUR.PresentationInfo.max_order, ARDOUR.TrackMode.Normal, false)
  for track in made:iter () do
    add (track, ARDOUR.LuaAPI.new_plugin (session, uri, ARDOUR.PluginType.LV2, ""), 0)
    session:set_control (track:monitoring_control (), 1, PBD.GroupControlDisposition.NoGroup)
  end
end

-- The plugin, and the number of its control port of that name: among the ports, and among the control ports
local function control (name, label)
  local processor = track (name):nth_plugin (0)
  local plugin = processor:to_insert ():plugin (0)
  local nth = 0
  for i = 0, plugin:parameter_count () - 1 do
    if plugin:parameter_is_control (i) then
      if plugin:parameter_label (i) == label then return processor, i, nth end
      nth = nth + 1
    end
  end
  die ("no parameter " .. label)
end

local function set (name, label, value)
  local processor, _, nth = control (name, label)
  ARDOUR.LuaAPI.set_plugin_insert_param (processor:to_insert (), nth, value)
end

local function automate (name, label, place, value)
  local processor, port, nth = control (name, label)
  local _, lane = ARDOUR.LuaAPI.plugin_automation (processor, nth)
  lane:set_interpolation (Evoral.InterpolationStyle.Discrete)
  lane:add (Temporal.timepos_t (place), value, false, false)
  local parameter = Evoral.Parameter (ARDOUR.AutomationType.PluginAutomation, 0, port)
  processor:to_automatable ():automation_control (parameter, false):set_automation_state (ARDOUR.AutoState.Play)
end

-- ---- Ranges --------------------------------------------------------------------

-- Scripts can move a range but not make one: it is written into the saved session.

local ranges = {}

local function add_range (kind, first, last)
  local flags = { loop = "IsAutoLoop", session = "IsSessionRange" }
  local superclock = 282240000 // 48000
  table.insert (ranges, string.format (
    '<Location id="%d" name="%s" start="a%d" end="a%d" flags="%s" locked="0" timestamp="0" cue="0"/>',
    900000 + #ranges, kind, first * superclock, last * superclock, flags[kind]))
end

local function write_ranges ()
  local file = io.open (path)
  local text, count = file:read ("a"):gsub ("<Locations/>", "<Locations>" .. table.concat (ranges) .. "</Locations>")
  file:close ()
  if count ~= 1 then die ("the session has ranges already") end
  file = io.open (path, "w")
  file:write (text)
  file:close ()
end

-- ---- Commands --------------------------------------------------------------------

local by_user = ARDOUR.TransportRequestSource.TRS_UI
local commands = {
  track = add_track,
  audible = function (name) add (track (name), ARDOUR.LuaAPI.new_luaproc (session, "MIDI to audio"), 1) end,
  set = set,
  automate = automate,
  range = add_range,
  roll = function () session:request_roll (by_user) end,
  loop = function () session:request_play_loop (true, true) end,
  stop = function () session:request_stop (false, false, by_user) end,
  locate = function (place)
    session:request_locate (place, false, ARDOUR.LocateTransportDisposition.MustStop, by_user)
  end,
  save = function () session:save_state ("", false, false, false, false, false) end,
}

-- A line is words; what stands for a number is one
local function parse (line)
  local words = {}
  for word in line:gmatch ("%S+") do table.insert (words, tonumber (word) or word) end
  return words
end

if backend == "JACK" then sleep (1) end -- It lets go within that time, or not at all
if not AudioEngine:running () then die ("the JACK server let go") end
say ("ready")
for line in io.lines () do
  local words = parse (line)
  if words[1] == "quit" then break end
  commands[words[1]] (table.unpack (words, 2))
  sleep (.3)
  if not AudioEngine:running () then die ("the JACK server let go") end
  say ("done", line, session:transport_sample ())
end
session:close ()
if #ranges > 0 then write_ranges () end
say ("closed")
quit ()
