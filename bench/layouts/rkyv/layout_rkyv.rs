// Copyright 2026 The HalfRemembered authors
// SPDX-License-Identifier: ISC

//! The music in archives of rkyv, for bench/layouts/layouts.h.

use bytecheck::CheckBytes;
use rkyv::ser::{serializers::AllocSerializer, Serializer};
use rkyv::{Archive, Serialize};
use std::mem::size_of;
use std::slice;

#[derive(Archive, Serialize)]
#[archive_attr(derive(CheckBytes))]
pub struct Event {
    offset: u32, // Ticks after the node's base tick
    length: u8,  // 1 to 3
    bytes: [u8; 3],
}

#[derive(Archive, Serialize)]
#[archive_attr(derive(CheckBytes))]
pub struct Node {
    base_tick: i64,
    last_tick: i64,
    wall_clock_ns: i64,
    tempo: f64,
    beats_per_bar: u16,
    beat_unit: u16,
    author: u32,
    events: Vec<Event>,
}

// ---- The types of layouts.h ---------------------------------------------------

#[repr(C)]
pub struct LayoutEvent {
    tick: i64,
    length: u8,
    bytes: [u8; 3],
}

#[repr(C)]
pub struct LayoutNode {
    wall_clock_ns: i64,
    tempo: f64,
    beats_per_bar: u16,
    beat_unit: u16,
    author: u32,
}

type Name = *const std::os::raw::c_char;

#[repr(C)]
pub struct Layout {
    name: Name,
    package: Name,
    boundless: bool,
    make: unsafe extern "C" fn(*const LayoutEvent, usize, *mut u8, usize, *mut usize) -> usize,
    scan: unsafe extern "C" fn(*const u8, usize) -> u64,
    seek: unsafe extern "C" fn(*const u8, usize, i64) -> i64,
    validate: unsafe extern "C" fn(*const u8, usize) -> bool,
}

unsafe impl Sync for Layout {} // All it points to is constant

extern "C" {
    static layout_node: LayoutNode;
}

// ---- Writing and reading ------------------------------------------------------

/// What a message takes besides its events, and padding.
const OVERHEAD: usize = size_of::<ArchivedNode>() + 8;

unsafe extern "C" fn make(
    events: *const LayoutEvent,
    count: usize,
    bytes: *mut u8,
    room: usize,
    size: *mut usize,
) -> usize {
    let count = count.min((room - OVERHEAD) / size_of::<ArchivedEvent>());
    let events = slice::from_raw_parts(events, count);
    let base_tick = events[0].tick;
    let node = Node {
        base_tick,
        last_tick: events[count - 1].tick,
        wall_clock_ns: layout_node.wall_clock_ns,
        tempo: layout_node.tempo,
        beats_per_bar: layout_node.beats_per_bar,
        beat_unit: layout_node.beat_unit,
        author: layout_node.author,
        events: events
            .iter()
            .map(|event| Event {
                offset: (event.tick - base_tick) as u32,
                length: event.length,
                bytes: event.bytes,
            })
            .collect(),
    };
    let mut serializer = AllocSerializer::<4096>::default();
    if serializer.serialize_value(&node).is_err() {
        return 0;
    }
    let written = serializer.into_serializer().into_inner();
    if written.len() > room {
        return 0;
    }
    slice::from_raw_parts_mut(bytes, written.len()).copy_from_slice(&written);
    *size = written.len();
    count
}

unsafe fn node_in<'a>(bytes: *const u8, size: usize) -> &'a ArchivedNode {
    rkyv::archived_root::<Node>(slice::from_raw_parts(bytes, size))
}

unsafe extern "C" fn scan(bytes: *const u8, size: usize) -> u64 {
    let node = node_in(bytes, size);
    node.events.iter().fold(0, |sum: u64, event| {
        let tick = node.base_tick + i64::from(event.offset);
        let [byte_0, byte_1, byte_2] = event.bytes;
        let message = u32::from_le_bytes([event.length, byte_0, byte_1, byte_2]);
        sum.wrapping_add(tick as u64).wrapping_add(message.into())
    })
}

unsafe extern "C" fn seek(bytes: *const u8, size: usize, tick: i64) -> i64 {
    let node = node_in(bytes, size);
    let tick_of = |event: &ArchivedEvent| node.base_tick + i64::from(event.offset);
    let at = node.events.partition_point(|event| tick_of(event) < tick);
    node.events.get(at).map_or(i64::MAX, tick_of)
}

unsafe extern "C" fn validate(bytes: *const u8, size: usize) -> bool {
    rkyv::check_archived_root::<Node>(slice::from_raw_parts(bytes, size)).is_ok()
}

#[allow(non_upper_case_globals)]
#[no_mangle]
pub static layout_rkyv: Layout = Layout {
    name: b"rkyv\0".as_ptr().cast(),
    package: b"librust-rkyv-dev\0".as_ptr().cast(),
    boundless: true,
    make,
    scan,
    seek,
    validate,
};
