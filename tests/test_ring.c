/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/ring.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_records_come_out_as_they_went_in(void** state)
{
  (void)state;
  HrRing* const ring = hr_ring_new(1024);
  uint64_t position = hr_ring_read_position(ring);
  assert_null(hr_ring_next(ring, &position));
  for (uint32_t i = 0; i < 10000; ++i) {
    const uint32_t size = i * 7 % 200;
    uint8_t* const payload = hr_ring_begin(ring, i + 1, size);
    assert_non_null(payload);
    memset(payload, (int)(i & 0xff), size);
    assert_null(hr_ring_next(ring, &position)); // Not yet
    hr_ring_end(ring);
    const HrRecord* const record = hr_ring_next(ring, &position);
    assert_non_null(record);
    assert_int_equal((uintptr_t)(record + 1) % 8, 0);
    assert_int_equal(record->type, i + 1);
    assert_int_equal(record->size, size);
    for (uint32_t k = 0; k < size; ++k) {
      assert_int_equal(((const uint8_t*)(record + 1))[k], i & 0xff);
    }
    hr_ring_release(ring, position);
    assert_int_equal(hr_ring_used(ring), 0);
  }
  hr_ring_free(ring);
}

static void test_a_full_ring_takes_nothing_and_loses_nothing(void** state)
{
  (void)state;
  HrRing* const ring = hr_ring_new(256);
  uint32_t written = 0;
  uint32_t* payload;
  while ((payload = hr_ring_begin(ring, 1, 24))) {
    *payload = written++;
    hr_ring_end(ring);
  }
  assert_int_equal(written, 8);
  assert_null(hr_ring_begin(ring, 1, 1));
  assert_null(hr_ring_begin(ring, 1, UINT32_MAX));
  uint64_t position = hr_ring_read_position(ring);
  for (uint32_t i = 0; i < written; ++i) {
    const HrRecord* const record = hr_ring_next(ring, &position);
    assert_non_null(record);
    assert_int_equal(*(const uint32_t*)(record + 1), i);
  }
  assert_null(hr_ring_next(ring, &position));
  hr_ring_release(ring, position);
  assert_non_null(hr_ring_begin(ring, 1, 200)); // And one as large as the rest of the buffer
  hr_ring_free(ring);
}

/** A ring read back from a file may hold anything. */
static void test_nonsense_is_not_followed(void** state)
{
  (void)state;
  enum { CAPACITY = 512 };
  _Alignas(64) uint8_t data[CAPACITY];
  _Alignas(64) HrRingPositions positions;
  uint32_t chance = 1;
  for (int trial = 0; trial < 20000; ++trial) {
    HrRing ring;
    for (size_t i = 0; i < sizeof data; ++i) {
      chance = chance * 1664525u + 1013904223u;
      data[i] = chance >> 31 ? (uint8_t)(chance >> 24) : 0;
    }
    memset(&positions, 0, sizeof positions);
    positions.written = trial % 3 ? chance % 600 : (uint64_t)chance << 32;
    positions.read = trial % 5 ? 0 : chance % 700;
    hr_ring_init(&ring, &positions, data, CAPACITY);
    uint64_t position = hr_ring_read_position(&ring);
    const HrRecord* record;
    int count = 0;
    while ((record = hr_ring_next(&ring, &position))) {
      const uint8_t* const end = (const uint8_t*)(record + 1) + record->size;
      assert_true((const uint8_t*)record >= data && end <= data + CAPACITY);
      assert_true(++count <= CAPACITY / 8);
    }
  }
}

enum { STRESS = 2000000 };

static void* write_numbers(void* data)
{
  HrRing* const ring = data;
  for (uint32_t i = 0; i < STRESS;) {
    const uint32_t size = 4 + i % 61;
    uint32_t* const payload = hr_ring_begin(ring, 1 + i % 5, size);
    if (payload) {
      *payload = i++;
      hr_ring_end(ring);
    } else {
      sched_yield();
    }
  }
  return NULL;
}

static void test_two_threads(void** state)
{
  (void)state;
  HrRing* const ring = hr_ring_new(4096);
  pthread_t writer;
  assert_int_equal(pthread_create(&writer, NULL, write_numbers, ring), 0);
  uint64_t position = hr_ring_read_position(ring);
  for (uint32_t i = 0; i < STRESS;) {
    const HrRecord* const record = hr_ring_next(ring, &position);
    if (record) {
      assert_int_equal(record->size, 4 + i % 61);
      assert_int_equal(record->type, 1 + i % 5);
      assert_int_equal(*(const uint32_t*)(record + 1), i);
      hr_ring_release(ring, position);
      ++i;
    } else {
      sched_yield();
    }
  }
  pthread_join(writer, NULL);
  hr_ring_free(ring);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_records_come_out_as_they_went_in),
      cmocka_unit_test(test_a_full_ring_takes_nothing_and_loses_nothing),
      cmocka_unit_test(test_nonsense_is_not_followed),
      cmocka_unit_test(test_two_threads),
  };
  return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
