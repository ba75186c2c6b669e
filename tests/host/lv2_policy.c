/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "tests/host/lv2_policy.h"

static const HostTraits traits[HOST_POLICIES] = {
    [HOST_PLAIN] = {.name = "plain",
                    .position = POSITION_ON_CHANGE,
                    .position_at_start = true,
                    .loops_within_cycle = true,
                    .work_ring = 65536,
                    .work_full = LV2_WORKER_ERR_NO_SPACE,
                    .freewheel = true,
                    .freewheel_responds = true},
    [HOST_ARDOUR] = {.name = "Ardour",
                     .position = POSITION_EACH_RUN,
                     .position_at_start = true,
                     .position_grid = 1920.0,
                     .splits_cycles = true,
                     .loops_within_cycle = true,
                     .ends_notes = true,
                     .tidies_input = true,
                     .out_capacity = 8192,
                     .work_ring = 32768,
                     .work_full = LV2_WORKER_ERR_NO_SPACE,
                     .work_outlives = true,
                     .freewheel = true,
                     .freewheel_responds = true,
                     .restores_bare = true},
    [HOST_JALV] = {.name = "jalv",
                   .position = POSITION_ON_CHANGE,
                   .past_the_block = true,
                   .work_ring = 4096,
                   .work_full = LV2_WORKER_SUCCESS,
                   .work_empty_fails = true},
    [HOST_CARLA] = {.name = "Carla",
                    .position = POSITION_WHEN_MOVED,
                    .position_at_start = true,
                    .position_blank = true,
                    .past_the_block = true,
                    .texts_without_nul = true,
                    .out_events_max = 512,
                    .out_bytes_max = 254,
                    .work_ring = 8192,
                    .work_full = LV2_WORKER_ERR_NO_SPACE,
                    .work_empty_fails = true,
                    .work_interval = 0.025,
                    .freewheel = true},
};

const HostTraits* host_traits(HostPolicy policy)
{
  return &traits[policy];
}

Chance chance_of(uint32_t seed)
{
  return (Chance){seed * 0x9e3779b97f4a7c15u};
}

uint32_t chance_choose(Chance* chance, uint32_t limit)
{
  chance->state ^= chance->state << 13;
  chance->state ^= chance->state >> 7;
  chance->state ^= chance->state << 17;
  return (uint32_t)(chance->state >> 33) % limit;
}

bool chance_once_in(Chance* chance, uint32_t times)
{
  return chance->state && chance_choose(chance, times) == 0;
}
