/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* The music in FlatBuffers (node.fbs), by the code that flatc makes of it: events
 * as a vector of structs, and as a vector of tables. */

#include "bench/layouts/layouts.h"
#include "node_generated.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace {

using layouts::Event;
using layouts::GetNode;
using layouts::LooseEvent;
using layouts::Message;
using layouts::Node;

/** What a message takes besides its events, at the most: Node's fields, its vtable,
 * the root's offset, the vector's length, and padding. */
constexpr size_t OVERHEAD = 128;

Message message_of(const LayoutEvent& event)
{
  return {event.length, flatbuffers::span<const uint8_t, 3>(event.bytes)};
}

/** Of an event of either kind. */
uint64_t sum_of(int64_t base_tick, uint32_t offset, const Message& message)
{
  const auto& bytes = *message.bytes();
  return layout_sum(base_tick + offset, message.length(), bytes[0], bytes[1], bytes[2]);
}

/** The builder's own buffer is kept for the next message. */
flatbuffers::FlatBufferBuilder& fresh_builder()
{
  static flatbuffers::FlatBufferBuilder builder;
  builder.Clear();
  return builder;
}

size_t finish(flatbuffers::FlatBufferBuilder& builder, layouts::NodeBuilder& node,
              const LayoutEvent* events, size_t count, void* bytes, size_t room, size_t* size)
{
  node.add_base_tick(events[0].tick);
  node.add_last_tick(events[count - 1].tick);
  node.add_wall_clock_ns(layout_node.wall_clock_ns);
  node.add_tempo(layout_node.tempo);
  node.add_beats_per_bar(layout_node.beats_per_bar);
  node.add_beat_unit(layout_node.beat_unit);
  node.add_author(layout_node.author);
  builder.Finish(node.Finish());
  *size = builder.GetSize();
  if (*size > room) {
    return 0;
  }
  std::memcpy(bytes, builder.GetBufferPointer(), *size);
  return count;
}

size_t make_structs(const LayoutEvent* events, size_t count, void* bytes, size_t room, size_t* size)
{
  auto& builder = fresh_builder();
  Event* written;
  count = std::min(count, (room - OVERHEAD) / sizeof *written);
  const auto vector = builder.CreateUninitializedVectorOfStructs<Event>(count, &written);
  for (size_t i = 0; i < count; ++i) {
    const auto offset = static_cast<uint32_t>(events[i].tick - events[0].tick);
    written[i] = Event(offset, message_of(events[i]));
  }
  layouts::NodeBuilder node(builder);
  node.add_events(vector);
  return finish(builder, node, events, count, bytes, room, size);
}

/** A table is its vtable's offset and two fields, and an offset leads to it. */
constexpr size_t TABLE = 16;

size_t make_tables(const LayoutEvent* events, size_t count, void* bytes, size_t room, size_t* size)
{
  static std::vector<flatbuffers::Offset<LooseEvent>> tables;
  auto& builder = fresh_builder();
  count = std::min(count, (room - OVERHEAD) / TABLE);
  tables.resize(count);
  for (size_t i = 0; i < count; ++i) {
    const auto offset = static_cast<uint32_t>(events[i].tick - events[0].tick);
    const Message message = message_of(events[i]);
    tables[i] = layouts::CreateLooseEvent(builder, offset, &message);
  }
  const auto vector = builder.CreateVector(tables);
  layouts::NodeBuilder node(builder);
  node.add_loose_events(vector);
  return finish(builder, node, events, count, bytes, room, size);
}

uint64_t scan_structs(const void* bytes, size_t)
{
  const Node& node = *GetNode(bytes);
  const int64_t base_tick = node.base_tick();
  uint64_t sum = 0;
  for (const Event* event : *node.events()) {
    sum += sum_of(base_tick, event->offset(), event->message());
  }
  return sum;
}

uint64_t scan_tables(const void* bytes, size_t)
{
  const Node& node = *GetNode(bytes);
  const int64_t base_tick = node.base_tick();
  uint64_t sum = 0;
  for (const LooseEvent* event : *node.loose_events()) {
    sum += sum_of(base_tick, event->offset(), *event->message());
  }
  return sum;
}

template <typename Vector> int64_t seek_in(const Vector& events, int64_t base_tick, int64_t tick)
{
  const auto at = std::partition_point(events.begin(), events.end(), [&](const auto* event) {
    return base_tick + event->offset() < tick;
  });
  return at != events.end() ? base_tick + at->offset() : INT64_MAX;
}

int64_t seek_structs(const void* bytes, size_t, int64_t tick)
{
  const Node& node = *GetNode(bytes);
  return seek_in(*node.events(), node.base_tick(), tick);
}

int64_t seek_tables(const void* bytes, size_t, int64_t tick)
{
  const Node& node = *GetNode(bytes);
  return seek_in(*node.loose_events(), node.base_tick(), tick);
}

/** No more tables than there is room for: the default bound is a million. */
bool verify(const void* bytes, size_t size)
{
  flatbuffers::Verifier::Options options;
  options.max_tables = static_cast<flatbuffers::uoffset_t>(size / sizeof(uint32_t));
  flatbuffers::Verifier verifier(static_cast<const uint8_t*>(bytes), size, options);
  return layouts::VerifyNodeBuffer(verifier);
}

/** A vector may be absent. */
bool validate_structs(const void* bytes, size_t size)
{
  return verify(bytes, size) && GetNode(bytes)->events();
}

bool validate_tables(const void* bytes, size_t size)
{
  return verify(bytes, size) && GetNode(bytes)->loose_events();
}

} // namespace

const Layout layout_flatbuffers_structs = {
    "FlatBuffers, structs", "libflatbuffers-dev", true, make_structs, scan_structs,
    seek_structs,           validate_structs};

const Layout layout_flatbuffers_tables = {"FlatBuffers, tables", "libflatbuffers-dev", true,
                                          make_tables,           scan_tables,          seek_tables,
                                          validate_tables};
