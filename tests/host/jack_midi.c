/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file jack_midi.c
 * Plays an event list into a JACK port, or records one, to the frame.
 *
 *   jack_midi play NAME PORT LIST [PLAYED]
 *     Play LIST (events.h) into PORT, from the start of a cycle; end after the
 *     last event. PLAYED is the list again, at the server's frames.
 *
 *   jack_midi record NAME PORT HEARD
 *     Record PORT until SIGINT or SIGTERM, then write HEARD. Prints "ready"
 *     once connected. PORT may go away meanwhile; wait for it to come back and
 *     connect again with `jack_connect`.
 *
 *   jack_midi wait NAME FRAMES
 *     Wait until the server has run so many frames: it may fall behind the clock.
 *
 * All leave the server in good order: a client that does not hangs it.
 */

#include "tests/host/events.h"

#include <jack/jack.h>
#include <jack/midiport.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/// Room for a recording, taken before it starts: the process callback must not allocate.
enum { RECORD_BYTES = 64 << 20 };

typedef struct {
  uint64_t frame;
  size_t size;
} Record; ///< Followed by `size` bytes

typedef struct {
  jack_client_t* client;
  jack_port_t* port;

  // Playing
  EventList list;
  size_t next;
  uint64_t start; ///< Server frame of the list's frame 0
  bool started;
  atomic_bool go;
  atomic_bool done;

  // Waiting
  atomic_size_t frames; ///< Run so far

  // Recording
  uint8_t* recording;
  atomic_size_t recorded; ///< Bytes of `recording` in use
  atomic_bool overflow;
} Program;

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
  (void)number;
  interrupted = 1;
}

static void nap(void)
{
  nanosleep(&(struct timespec){0, 10000000}, NULL);
}

static int play_cycle(jack_nframes_t frames, void* data)
{
  Program* program = data;
  void* buffer = jack_port_get_buffer(program->port, frames);
  const uint64_t now = jack_last_frame_time(program->client);
  jack_midi_clear_buffer(buffer);
  if (!atomic_load(&program->go) || atomic_load(&program->done)) {
    return 0;
  }
  if (!program->started) {
    program->start = now;
    program->started = true;
  }
  while (program->next < program->list.count) {
    const Event* event = &program->list.events[program->next];
    const uint64_t when = program->start + event->frame;
    if (when >= now + frames) {
      return 0;
    }
    // What does not fit goes out in the next cycle, and is then late: the comparison will say so.
    const jack_nframes_t offset = when > now ? (jack_nframes_t)(when - now) : 0;
    if (jack_midi_event_write(buffer, offset, event->bytes, event->size)) {
      return 0;
    }
    ++program->next;
  }
  atomic_store(&program->done, true);
  return 0;
}

static int record_cycle(jack_nframes_t frames, void* data)
{
  Program* program = data;
  void* buffer = jack_port_get_buffer(program->port, frames);
  const uint64_t now = jack_last_frame_time(program->client);
  const uint32_t count = jack_midi_get_event_count(buffer);
  for (uint32_t i = 0; i < count; ++i) {
    jack_midi_event_t event;
    const size_t used = atomic_load(&program->recorded);
    if (jack_midi_event_get(&event, buffer, i)) {
      continue;
    }
    if (event.size + sizeof(Record) > RECORD_BYTES - used) {
      atomic_store(&program->overflow, true);
      break;
    }
    const Record record = {now + event.time, event.size};
    memcpy(program->recording + used, &record, sizeof record);
    memcpy(program->recording + used + sizeof record, event.buffer, event.size);
    atomic_store(&program->recorded, used + sizeof record + event.size);
  }
  return 0;
}

static int wait_cycle(jack_nframes_t frames, void* data)
{
  Program* program = data;
  atomic_fetch_add(&program->frames, frames);
  return 0;
}

static bool write_list(const EventList* list, const char* path)
{
  FILE* file = fopen(path, "w");
  if (!file) {
    perror(path);
    return false;
  }
  events_write(list, file);
  return fclose(file) == 0;
}

/* Lists are written before the server is spoken to again: it may have died. */

static bool play(Program* program, const char* played)
{
  nap(); // A cycle or two, for the connection to take effect
  atomic_store(&program->go, true);
  while (!atomic_load(&program->done) && !interrupted) {
    nap();
  }
  nap(); // The last cycle's events have to leave before the port does
  printf("played %zu events\n", program->next);
  for (size_t i = 0; i < program->list.count; ++i) {
    program->list.events[i].frame += program->start;
  }
  program->list.count = program->next;
  return !played || write_list(&program->list, played);
}

static bool record(Program* program, const char* heard)
{
  printf("ready\n");
  fflush(stdout);
  while (!interrupted) {
    nap();
  }
  EventList list = {0};
  const size_t used = atomic_load(&program->recorded);
  for (size_t at = 0; at < used;) {
    Record header;
    memcpy(&header, program->recording + at, sizeof header);
    events_add(&list, header.frame, program->recording + at + sizeof header, header.size);
    at += sizeof header + header.size;
  }
  const bool written = write_list(&list, heard);
  events_free(&list);
  if (atomic_load(&program->overflow)) {
    fprintf(stderr, "jack_midi: too much to record\n");
    return false;
  }
  return written;
}

static bool wait_frames(const Program* program, size_t frames)
{
  while (atomic_load(&program->frames) < frames && !interrupted) {
    nap();
  }
  return !interrupted;
}

static bool start(Program* program, const char* name, JackProcessCallback cycle)
{
  program->client = jack_client_open(name, JackNoStartServer | JackUseExactName, NULL);
  if (!program->client) {
    fprintf(stderr, "jack_midi: no JACK server, or the name \"%s\" is taken\n", name);
    return false;
  }
  const bool playing = cycle == play_cycle;
  jack_set_process_callback(program->client, cycle, program);
  if (cycle != wait_cycle) {
    program->port =
        jack_port_register(program->client, playing ? "out" : "in", JACK_DEFAULT_MIDI_TYPE,
                           playing ? JackPortIsOutput : JackPortIsInput, 0);
  }
  if ((cycle != wait_cycle && !program->port) || jack_activate(program->client)) {
    fprintf(stderr, "jack_midi: cannot start\n");
    return false;
  }
  return true;
}

static bool connect_to(Program* program, const char* peer)
{
  const char* own = jack_port_name(program->port);
  const bool playing = jack_port_flags(program->port) & JackPortIsOutput;
  if (jack_connect(program->client, playing ? own : peer, playing ? peer : own)) {
    fprintf(stderr, "jack_midi: cannot connect to \"%s\"\n", peer);
    return false;
  }
  return true;
}

static bool run_play(Program* program, char** argv)
{
  return events_load(&program->list, argv[4]) && start(program, argv[2], play_cycle) &&
         connect_to(program, argv[3]) && play(program, argv[5]);
}

static bool run_record(Program* program, char** argv)
{
  program->recording = calloc(1, RECORD_BYTES);
  return program->recording && start(program, argv[2], record_cycle) &&
         connect_to(program, argv[3]) && record(program, argv[4]);
}

static bool run_wait(Program* program, char** argv)
{
  return start(program, argv[2], wait_cycle) && wait_frames(program, strtoul(argv[3], NULL, 10));
}

int main(int argc, char** argv)
{
  signal(SIGINT, on_signal);
  signal(SIGTERM, on_signal);

  Program program = {0};
  bool good = false;
  if (argc >= 5 && !strcmp(argv[1], "play")) {
    good = run_play(&program, argv);
  } else if (argc == 5 && !strcmp(argv[1], "record")) {
    good = run_record(&program, argv);
  } else if (argc == 4 && !strcmp(argv[1], "wait")) {
    good = run_wait(&program, argv);
  } else {
    fprintf(stderr, "usage: jack_midi play NAME PORT LIST [PLAYED]\n"
                    "       jack_midi record NAME PORT HEARD\n"
                    "       jack_midi wait NAME FRAMES\n");
    return 2;
  }
  if (program.client) {
    jack_deactivate(program.client);
    jack_client_close(program.client);
  }
  free(program.recording);
  events_free(&program.list);
  return good ? 0 : 1;
}
