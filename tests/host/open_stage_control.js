// Copyright 2026 The HalfRemembered authors
// SPDX-License-Identifier: ISC

// open_stage_control.js MODULES SESSION PORT
// A session of Open Stage Control as its server and one browser would run it: the
// scripts of its widgets, what they listen to, what their pads send. The packets
// are made and read by npm's "osc", from the folder MODULES.
//
// Reads lines from standard input: "press ID" and "release ID". Prints a line
// "shows ID VALUE" whenever a widget shows something else: a text, whether a pad is on,
// or its variables as "ID.label", "ID.colour" and "ID.lit".

const path = require('path')
const fs = require('fs')
const vm = require('vm')
const [modules, session, port] = process.argv.slice(2)
const osc = require(path.join(modules, 'node_modules', 'osc'))

const widgets = {}
const variables = {}
const values = {}
const globals = {}
const socket = new osc.UDPPort({
  localAddress: '127.0.0.1', localPort: 0, remoteAddress: '127.0.0.1', remotePort: Number(port),
})

function tell(id, value) {
  console.log('shows ' + id + ' ' + String(value).replace(/\n/g, ' '))
}

// Numbers leave as floats, unless a type is given, and null leaves no argument.
function send(address, ...args) {
  socket.send({address, args: args.filter(arg => arg !== null).map(arg =>
    typeof arg === 'number' ? {type: 'f', value: arg} : {type: 's', value: String(arg)})})
}

function known(id) {
  if (!widgets[id]) throw new Error('there is no widget ' + id)
  return id
}

function set(id, value, options = {}) {
  const widget = widgets[known(id)]
  if (widget.type === 'button' && !options.external) throw new Error(id + ' is set from within')
  if (values[id] === value) return
  values[id] = value
  tell(id, value)
}

function setVar(id, name, value) {
  if (!Object.values(widgets[known(id)]).some(v => String(v).includes('VAR{' + name + ','))) {
    throw new Error(id + ' has no use for ' + name)
  }
  if ((variables[id] = variables[id] || {})[name] === value) return
  variables[id][name] = value
  tell(id + '.' + name, value)
}

// "initiated" is what the program asks for before a script may send.
function run(script, value, initiated) {
  vm.runInNewContext(script, {
    value, set, setVar, globals, Date, console, get: id => values[known(id)],
    send: initiated ? send : () => {},
    setInterval: (callback, delay) => setInterval(callback, delay),
  })
}

function receive(message) {
  for (const widget of Object.values(widgets)) {
    if (widget.type !== 'variable' || widget.address !== message.address) continue
    const before = widget.preArgs || []
    if (before.some((arg, i) => message.args[i] !== arg)) continue
    const rest = message.args.slice(before.length)
    run(widget.onValue, rest.length === 1 ? rest[0] : rest, false)
  }
}

function touch(id, down) {
  const widget = widgets[known(id)]
  if (widget.bypass) {
    if (down) run(widget.onValue, null, true)
  } else if (widget.mode === 'push') {
    send(widget.address, down ? widget.on : widget.off)
  } else if (down) {
    const asked = {
      toggle: () => values[id] === widget.on ? widget.off : widget.on,
      tap: () => widget.on,
      momentary: () => null,
    }[widget.mode]()
    send(widget.address, asked)
  }
}

const root = JSON.parse(fs.readFileSync(session, 'utf8')).content
for (const widget of root.widgets) {
  widgets[widget.id] = widget
}
socket.on('message', receive)
socket.on('error', () => {}) // The plugin may be gone for a while
socket.on('ready', () => run(root.onCreate, null, true))
socket.open()
require('readline').createInterface({input: process.stdin}).on('line', line => {
  const [verb, id] = line.split(' ')
  touch(id, verb === 'press')
}).on('close', () => process.exit(0))
