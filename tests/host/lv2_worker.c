/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "tests/host/lv2_worker.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { QUEUE_BYTES = 4096 };

/** Messages, each a 32-bit size and its bytes. */
typedef struct {
  uint8_t bytes[QUEUE_BYTES];
  size_t used;
} Queue;

struct WorkerImpl {
  HostWorker mode;
  LV2_Worker_Schedule schedule;
  const LV2_Worker_Interface* interface;
  LV2_Handle plugin;

  pthread_t thread;
  bool threaded;
  pthread_mutex_t mutex; ///< Guards what follows
  pthread_cond_t changed;
  Queue requests;
  Queue responses;
  bool busy; ///< work() is being called by the thread
  bool quit;
};

static LV2_Worker_Status queue_put(Queue* queue, uint32_t size, const void* data)
{
  if (!size || size + sizeof size > QUEUE_BYTES - queue->used) {
    return LV2_WORKER_ERR_NO_SPACE;
  }
  memcpy(queue->bytes + queue->used, &size, sizeof size);
  memcpy(queue->bytes + queue->used + sizeof size, data, size);
  queue->used += sizeof size + size;
  return LV2_WORKER_SUCCESS;
}

/** Take the oldest message into `data` (of QUEUE_BYTES); its size, 0 if there is none. */
static uint32_t queue_take(Queue* queue, void* data)
{
  uint32_t size = 0;
  if (queue->used) {
    memcpy(&size, queue->bytes, sizeof size);
    memcpy(data, queue->bytes + sizeof size, size);
    queue->used -= sizeof size + size;
    memmove(queue->bytes, queue->bytes + sizeof size + size, queue->used);
  }
  return size;
}

static LV2_Worker_Status respond(LV2_Worker_Respond_Handle handle, uint32_t size, const void* data)
{
  Worker* worker = handle;
  pthread_mutex_lock(&worker->mutex);
  const LV2_Worker_Status status = queue_put(&worker->responses, size, data);
  pthread_mutex_unlock(&worker->mutex);
  return status;
}

static LV2_Worker_Status respond_inline(LV2_Worker_Respond_Handle handle, uint32_t size,
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
  if (worker->mode == HOST_WORKER_LOST) {
    return LV2_WORKER_SUCCESS;
  }
  if (worker->mode == HOST_WORKER_INLINE) {
    return size ? worker->interface->work(worker->plugin, respond_inline, worker, size, data)
                : LV2_WORKER_ERR_NO_SPACE;
  }
  pthread_mutex_lock(&worker->mutex);
  const LV2_Worker_Status status = queue_put(&worker->requests, size, data);
  pthread_cond_broadcast(&worker->changed);
  pthread_mutex_unlock(&worker->mutex);
  return status;
}

static void* work_thread(void* data)
{
  Worker* worker = data;
  uint8_t message[QUEUE_BYTES];
  pthread_mutex_lock(&worker->mutex);
  while (!worker->quit) {
    const uint32_t size = queue_take(&worker->requests, message);
    if (!size) {
      pthread_cond_wait(&worker->changed, &worker->mutex);
      continue;
    }
    worker->busy = true;
    pthread_mutex_unlock(&worker->mutex);
    worker->interface->work(worker->plugin, respond, worker, size, message);
    pthread_mutex_lock(&worker->mutex);
    worker->busy = false;
    pthread_cond_broadcast(&worker->changed);
  }
  pthread_mutex_unlock(&worker->mutex);
  return NULL;
}

Worker* worker_new(HostWorker mode)
{
  Worker* worker = calloc(1, sizeof *worker);
  if (!worker) {
    abort();
  }
  worker->mode = mode;
  worker->schedule = (LV2_Worker_Schedule){worker, schedule_work};
  pthread_mutex_init(&worker->mutex, NULL);
  pthread_cond_init(&worker->changed, NULL);
  return worker;
}

void worker_free(Worker* worker)
{
  if (worker->threaded) {
    pthread_mutex_lock(&worker->mutex);
    worker->quit = true;
    pthread_cond_broadcast(&worker->changed);
    pthread_mutex_unlock(&worker->mutex);
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

void worker_start(Worker* worker, const LV2_Worker_Interface* interface, LV2_Handle plugin)
{
  worker->interface = interface;
  worker->plugin = plugin;
  worker->threaded = !pthread_create(&worker->thread, NULL, work_thread, worker);
  if (!worker->threaded) {
    abort();
  }
}

void worker_change(Worker* worker, HostWorker mode)
{
  worker->mode = mode;
}

void worker_settle(Worker* worker)
{
  if (worker->mode == HOST_WORKER_LOCKSTEP) {
    pthread_mutex_lock(&worker->mutex);
    while (worker->requests.used || worker->busy) {
      pthread_cond_wait(&worker->changed, &worker->mutex);
    }
    pthread_mutex_unlock(&worker->mutex);
  }
}

void worker_respond(Worker* worker)
{
  uint8_t message[QUEUE_BYTES];
  for (;;) {
    pthread_mutex_lock(&worker->mutex);
    const uint32_t size = queue_take(&worker->responses, message);
    pthread_mutex_unlock(&worker->mutex);
    if (!size) {
      break;
    }
    if (worker->interface->work_response) {
      worker->interface->work_response(worker->plugin, size, message);
    }
  }
  if (worker->interface->end_run) {
    worker->interface->end_run(worker->plugin);
  }
}
