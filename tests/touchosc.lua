-- Copyright 2026 The HalfRemembered authors
-- SPDX-License-Identifier: ISC

-- What a script of a TouchOSC layout finds around it, for tests/test_tablet.c:
-- the controls, and of the functions those that its manual lists ("Script - Lua
-- Functions", "Script - Global Functions", "Script - Properties and Values").
-- What the manual does not list is an error here. The test gives sendOSC(),
-- getMillis() and getTime().

local PROPERTIES = {
  name = 'string', tag = 'string', color = 'table', textColor = 'table', visible = 'boolean',
  interactive = 'boolean', script = 'string',
}
local VALUES = {GROUP = {touch = true}, BUTTON = {x = true, touch = true},
                LABEL = {text = true, touch = true}}

local root
local controls = {}

local function channel(value) return type(value) == 'number' and value >= 0 and value <= 1 end

local function make_color(r, g, b, a)
  assert(channel(r) and channel(g) and channel(b) and channel(a), 'Color() takes four parts of 1')
  return {r = r, g = g, b = b, a = a}
end

local environment = {
  error = error, ipairs = ipairs, next = next, pairs = pairs, select = select,
  tonumber = tonumber, tostring = tostring, unpack = unpack, type = type, string = string,
  table = table, math = math, Color = make_color, sendOSC = sendOSC, getMillis = getMillis,
  getTime = getTime,
}

local methods = {}

function methods.findByName(control, name, recursive)
  for _, child in ipairs(rawget(control, 'list')) do
    if child.name == name then return child end
    local deeper = recursive and child:findByName(name, true)
    if deeper then return deeper end
  end
  return nil
end

local function values_of(kind, initial)
  local held = initial
  return setmetatable({}, {
    __index = held,
    __newindex = function(_, key, value)
      assert(VALUES[kind][key], kind .. ' has no value ' .. tostring(key))
      assert(key ~= 'text' or type(value) == 'string', 'a text must be one')
      held[key] = value
    end,
  })
end

function add(parent, kind, name, text)
  local held = {name = name}
  local control = setmetatable({list = {}, values = values_of(kind, {x = 0, text = text})}, {
    __index = function(_, key) return methods[key] or held[key] end,
    __newindex = function(_, key, value)
      assert(type(value) == PROPERTIES[key], 'no such property: ' .. tostring(key))
      held[key] = value
    end,
  })
  if parent then
    table.insert(rawget(controls[parent], 'list'), control)
  else
    root = control
  end
  table.insert(controls, control)
  return #controls
end

local scripts = {}

function run(number, script)
  local scope = setmetatable({self = controls[number], root = root}, {
    __index = function(_, key)
      return environment[key] or error('there is no ' .. tostring(key) .. ' in TouchOSC', 2)
    end,
    __newindex = rawset,
  })
  setfenv(assert(loadstring(script, 'script')), scope)()
  scripts[controls[number]] = scope
end

local function call(control, name, ...)
  local callback = scripts[control] and rawget(scripts[control], name)
  return callback and callback(...)
end

function init() call(root, 'init') end
function update() call(root, 'update') end
function receive(address, arguments) return call(root, 'onReceiveOSC', {address, arguments}, {true}) end

function press(name, x)
  local control = assert(root:findByName(name, true), name)
  control.values.x = x
  call(control, 'onValueChanged', 'x')
end

function text_of(name) return assert(root:findByName(name, true), name).values.text end

function brightness_of(name)
  local color = assert(root:findByName(name, true), name).color
  return color and math.max(color.r, color.g, color.b) or -1
end

function hex_of(name)
  local color = assert(root:findByName(name, true), name).color
  local function part(channel) return math.floor(channel * 255 + 0.5) end
  return string.format('%02x%02x%02x', part(color.r), part(color.g), part(color.b))
end
