/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "tests/host/lv2_worker.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
  QUEUE_BYTES = 65536,
  LATE_FRAMES = 2048, ///< By chance the worker gets its turn as late as this
};

/** Messages, each a 32-bit size and its bytes. */
typedef struct {
  uint8_t bytes[QUEUE_BYTES];
  size_t used;
} Queue;

struct WorkerImpl {
  const HostTraits* traits;
  Chance chance;
  LV2_Worker_Schedule schedule;
  LV2_Worker_Schedule restore_schedule;
  const LV2_Worker_Interface* interface;
  LV2_Handle plugin;
  bool freewheel;

  uint32_t interval; ///< Frames between batches
  uint32_t wait;     ///< Frames until the next turn (without a thread)

  pthread_t thread;
  bool threaded;
  pthread_mutex_t mutex; ///< Guards what follows
  pthread_cond_t changed;
  Queue requests;
  Queue responses;
  bool stalled;
  bool quit;
};

static bool queue_put(Queue* queue, size_t capacity, uint32_t size, const void* data)
{
  if (size + sizeof size > capacity - queue->used) {
    return false;
  }
  memcpy(queue->bytes + queue->used, &size, sizeof size);
  if (size) {
    memcpy(queue->bytes + queue->used + sizeof size, data, size);
  }
  queue->used += sizeof size + size;
  return true;
}

/** Take the oldest message into `data` (of QUEUE_BYTES); false if there is none. */
static bool queue_take(Queue* queue, uint32_t* size, void* data)
{
  if (!queue->used) {
    return false;
  }
  memcpy(size, queue->bytes, sizeof *size);
  memcpy(data, queue->bytes + sizeof *size, *size);
  queue->used -= sizeof *size + *size;
  memmove(queue->bytes, queue->bytes + sizeof *size + *size, queue->used);
  return true;
}

static LV2_Worker_Status put(Worker* worker, Queue* queue, uint32_t size, const void* data)
{
  if (!size && worker->traits->work_empty_fails) {
    return LV2_WORKER_ERR_UNKNOWN;
  }
  pthread_mutex_lock(&worker->mutex);
  const bool fits = queue_put(queue, worker->traits->work_ring, size, data);
  pthread_cond_broadcast(&worker->changed);
  pthread_mutex_unlock(&worker->mutex);
  return fits ? LV2_WORKER_SUCCESS : worker->traits->work_full;
}

static LV2_Worker_Status respond(LV2_Worker_Respond_Handle handle, uint32_t size, const void* data)
{
  Worker* worker = handle;
  return put(worker, &worker->responses, size, data);
}

static LV2_Worker_Status respond_now(LV2_Worker_Respond_Handle handle, uint32_t size,
                                     const void* data)
{
  Worker* worker = handle;
  return worker->interface->work_response
             ? worker->interface->work_response(worker->plugin, size, data)
             : LV2_WORKER_SUCCESS;
}

static LV2_Worker_Status schedule_work(LV2_Worker_Schedule_Handle handle, uint32_t size,
                                       const void* data)
{
  Worker* worker = handle;
  if (worker->freewheel) {
    return worker->interface->work(worker->plugin,
                                   worker->traits->freewheel_responds ? respond_now : respond,
                                   worker, size, data);
  }
  return put(worker, &worker->requests, size, data);
}

static LV2_Worker_Status schedule_restore_work(LV2_Worker_Schedule_Handle handle, uint32_t size,
                                               const void* data)
{
  Worker* worker = handle;
  return worker->interface->work(worker->plugin, respond_now, worker, size, data);
}

/** Do what is queued, message by message. Called with the mutex held. */
static void work_batch(Worker* worker)
{
  uint8_t message[QUEUE_BYTES];
  uint32_t size = 0;
  while (!worker->stalled && !worker->quit && queue_take(&worker->requests, &size, message)) {
    pthread_mutex_unlock(&worker->mutex);
    worker->interface->work(worker->plugin, respond, worker, size, message);
    pthread_mutex_lock(&worker->mutex);
  }
}

static void* work_thread(void* data)
{
  Worker* worker = data;
  const struct timespec interval = {0, (long)(1e9 * worker->traits->work_interval)};
  pthread_mutex_lock(&worker->mutex);
  while (!worker->quit) {
    if (worker->stalled || !worker->requests.used) {
      pthread_cond_wait(&worker->changed, &worker->mutex);
      continue;
    }
    pthread_mutex_unlock(&worker->mutex);
    nanosleep(&interval, NULL);
    pthread_mutex_lock(&worker->mutex);
    work_batch(worker);
  }
  pthread_mutex_unlock(&worker->mutex);
  return NULL;
}

Worker* worker_new(const HostTraits* traits, uint32_t seed, double rate, bool threaded)
{
  Worker* worker = calloc(1, sizeof *worker);
  if (!worker) {
    abort();
  }
  worker->traits = traits;
  worker->chance = chance_of(seed);
  worker->interval = (uint32_t)(rate * traits->work_interval);
  worker->threaded = threaded;
  worker->schedule = (LV2_Worker_Schedule){worker, schedule_work};
  worker->restore_schedule = (LV2_Worker_Schedule){worker, schedule_restore_work};
  pthread_mutex_init(&worker->mutex, NULL);
  pthread_cond_init(&worker->changed, NULL);
  return worker;
}

void worker_free(Worker* worker)
{
  if (worker->traits->work_outlives) {
    const uint32_t late = 1;
    worker->interface->work(worker->plugin, respond, worker, sizeof late, &late);
  }
  pthread_mutex_lock(&worker->mutex);
  worker->quit = true;
  pthread_cond_broadcast(&worker->changed);
  pthread_mutex_unlock(&worker->mutex);
  if (worker->threaded) {
    pthread_join(worker->thread, NULL);
  }
  pthread_cond_destroy(&worker->changed);
  pthread_mutex_destroy(&worker->mutex);
  free(worker);
}

LV2_Worker_Schedule* worker_schedule(Worker* worker)
{
  return &worker->schedule;
}

LV2_Worker_Schedule* worker_restore_schedule(Worker* worker)
{
  return &worker->restore_schedule;
}

void worker_start(Worker* worker, const LV2_Worker_Interface* interface, LV2_Handle plugin)
{
  worker->interface = interface;
  worker->plugin = plugin;
  if (worker->threaded && pthread_create(&worker->thread, NULL, work_thread, worker)) {
    abort();
  }
}

void worker_freewheel(Worker* worker, bool on)
{
  worker->freewheel = on;
}

void worker_stall(Worker* worker, bool on)
{
  pthread_mutex_lock(&worker->mutex);
  worker->stalled = on;
  pthread_cond_broadcast(&worker->changed);
  pthread_mutex_unlock(&worker->mutex);
}

/** Without a thread: work if the time has come. */
static void take_turn(Worker* worker, uint32_t frames)
{
  if (worker->wait > frames) {
    worker->wait -= frames;
    return;
  }
  pthread_mutex_lock(&worker->mutex);
  work_batch(worker);
  pthread_mutex_unlock(&worker->mutex);
  const bool late = chance_once_in(&worker->chance, 4);
  worker->wait = worker->interval ? worker->interval
                 : late           ? chance_choose(&worker->chance, LATE_FRAMES)
                                  : 0;
}

void worker_after_run(Worker* worker, uint32_t frames)
{
  uint8_t message[QUEUE_BYTES];
  uint32_t size = 0;
  if (!worker->threaded) {
    take_turn(worker, frames);
  }
  for (;;) {
    pthread_mutex_lock(&worker->mutex);
    const bool taken = queue_take(&worker->responses, &size, message);
    pthread_mutex_unlock(&worker->mutex);
    if (!taken) {
      break;
    }
    respond_now(worker, size, message);
  }
  if (worker->interface->end_run) {
    worker->interface->end_run(worker->plugin);
  }
}
