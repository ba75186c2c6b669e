/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* The music in Cap'n Proto (node.capnp), by the code that capnp makes of it: a
 * message of one segment, framed. Its readers check each pointer when they follow
 * it; the list of events is one. */

#include "bench/layouts/layouts.h"
#include "node.capnp.h"

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/exception.h>

#include <algorithm>
#include <cstring>

namespace {

using layouts::Event;
using layouts::Node;

/** What a message takes besides its events: the frame, the root's pointer, Node's
 * five words and pointer, the list's tag. */
constexpr size_t OVERHEAD = 9 * sizeof(capnp::word);

constexpr size_t EVENT = sizeof(capnp::word);

size_t make(const LayoutEvent* events, size_t count, void* bytes, size_t room, size_t* size)
{
  count = std::min(count, (room - OVERHEAD) / EVENT);
  const size_t words = (OVERHEAD + count * EVENT) / sizeof(capnp::word);
  capnp::MallocMessageBuilder builder(static_cast<unsigned>(words));
  auto node = builder.initRoot<Node>();
  node.setBaseTick(events[0].tick);
  node.setLastTick(events[count - 1].tick);
  node.setWallClockNs(layout_node.wall_clock_ns);
  node.setTempo(layout_node.tempo);
  node.setBeatsPerBar(layout_node.beats_per_bar);
  node.setBeatUnit(layout_node.beat_unit);
  node.setAuthor(layout_node.author);
  auto list = node.initEvents(static_cast<unsigned>(count));
  for (size_t i = 0; i < count; ++i) {
    auto event = list[static_cast<unsigned>(i)];
    event.setOffset(static_cast<uint32_t>(events[i].tick - events[0].tick));
    event.setLength(events[i].length);
    event.setByte0(events[i].bytes[0]);
    event.setByte1(events[i].bytes[1]);
    event.setByte2(events[i].bytes[2]);
  }
  kj::ArrayOutputStream output(kj::arrayPtr(static_cast<kj::byte*>(bytes), room));
  capnp::writeMessage(output, builder);
  *size = output.getArray().size();
  return count;
}

/** A message as it lies. As much may be read as it has, and the root and the list
 * are followed once each: no more words than these. */
capnp::FlatArrayMessageReader reader_of(const void* bytes, size_t size)
{
  capnp::ReaderOptions options;
  options.traversalLimitInWords = size / sizeof(capnp::word);
  return capnp::FlatArrayMessageReader(
      kj::arrayPtr(static_cast<const capnp::word*>(bytes), size / sizeof(capnp::word)), options);
}

uint64_t scan(const void* bytes, size_t size)
{
  auto reader = reader_of(bytes, size);
  const auto node = reader.getRoot<Node>();
  const int64_t base_tick = node.getBaseTick();
  uint64_t sum = 0;
  for (const auto event : node.getEvents()) {
    sum += layout_sum(base_tick + event.getOffset(), event.getLength(), event.getByte0(),
                      event.getByte1(), event.getByte2());
  }
  return sum;
}

using Events = capnp::List<Event>::Reader;

int64_t offset_at(const void* events, size_t index)
{
  return (*static_cast<const Events*>(events))[static_cast<unsigned>(index)].getOffset();
}

int64_t seek(const void* bytes, size_t size, int64_t tick)
{
  auto reader = reader_of(bytes, size);
  const auto node = reader.getRoot<Node>();
  const auto events = node.getEvents();
  const int64_t base_tick = node.getBaseTick();
  const size_t at = layout_find(&events, events.size(), tick - base_tick, offset_at);
  return at < events.size() ? base_tick + offset_at(&events, at) : INT64_MAX;
}

/** Follow each pointer once; numbers need no check. */
bool validate(const void* bytes, size_t size)
{
  return kj::runCatchingExceptions([&] {
           auto reader = reader_of(bytes, size);
           reader.getRoot<Node>().getEvents();
         }) == nullptr;
}

} // namespace

const Layout layout_capnproto = {"Cap'n Proto", "libcapnp-dev", true, make, scan, seek, validate};
