/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* The OSC endpoint and its network: who reaches it from another machine, which is
 * played by another network namespace, and who is served while somebody floods it. */

#include "osc/osc.h"
#include "osc/socket.h"
#include "tests/rig.h"
#include "tests/scratch.h"
#include "tests/test_osc_wire.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

enum {
  ANSWER_MS = 2000, // Longest wait for what must come
  QUIET_MS = 150,   // Wait for what must not come
};

static int64_t now_us(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void sleep_us(int64_t us)
{
  const struct timespec time = {us / 1000000, us % 1000000 * 1000};
  nanosleep(&time, NULL);
}

/* ---- A client ------------------------------------------------------- */

static int open_socket(const char* host)
{
  struct sockaddr_in own = {.sin_family = AF_INET};
  assert_int_equal(inet_pton(AF_INET, host, &own.sin_addr), 1);
  const int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(descriptor, (const struct sockaddr*)&own, sizeof own), 0);
  return descriptor;
}

static struct sockaddr_in endpoint(const char* host)
{
  uint16_t port = 0;
  assert_int_equal(sscanf(hr_osc_url(), "osc.udp://%*[0-9.]:%" SCNu16 "/", &port), 1);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
  assert_int_equal(inet_pton(AF_INET, host, &to.sin_addr), 1);
  return to;
}

/** True if a datagram that holds `part` comes in time. */
static bool hears(int descriptor, const char* part, int timeout_ms)
{
  const int64_t until_us = now_us() + timeout_ms * INT64_C(1000);
  struct pollfd readable = {.fd = descriptor, .events = POLLIN};
  char bytes[2048];
  for (;;) {
    const int64_t left_us = until_us - now_us();
    if (left_us <= 0 || poll(&readable, 1, (int)(left_us / 1000) + 1) != 1) {
      return false;
    }
    const ssize_t size = recv(descriptor, bytes, sizeof bytes, 0);
    if (size > 0 && memmem(bytes, (size_t)size, part, strlen(part))) {
      return true;
    }
  }
}

static void send_bytes(int descriptor, const struct sockaddr_in* to, const void* bytes, size_t size)
{
  // Where nobody listens, the one before may have come back as an error.
  if (sendto(descriptor, bytes, size, 0, (const struct sockaddr*)to, sizeof *to) < 0) {
    sendto(descriptor, bytes, size, 0, (const struct sockaddr*)to, sizeof *to);
  }
}

/** True if /hr/ping is answered to a socket of `own`, and from the address that was asked. */
static bool answered(const char* own, const struct sockaddr_in* to, int timeout_ms)
{
  uint8_t bytes[WIRE_SIZE];
  const int descriptor = open_socket(own);
  assert_int_equal(connect(descriptor, (const struct sockaddr*)to, sizeof *to), 0);
  send_bytes(descriptor, to, bytes, serialise(bytes, "/hr/ping", ""));
  const bool result = hears(descriptor, "halfremembered", timeout_ms);
  close(descriptor);
  return result;
}

/* ---- Another machine ------------------------------------------------ */

/** A process in a network namespace of its own, joined to this one by a cable:
 * 10.77.0.1 and 10.77.0.9 here, 10.77.0.2 and 10.77.0.3 there. */
typedef struct {
  pid_t process;
  int asks;    ///< Takes a Question
  int answers; ///< Gives a bool for each, and one when it is there
  int home;    ///< The namespace that this process came from
} Peer;

typedef struct {
  char own[INET_ADDRSTRLEN];
  struct sockaddr_in to;
  int timeout_ms;
} Question;

static void live_elsewhere(int questions, int answers)
{
  const bool ready = !unshare(CLONE_NEWNET);
  Question question;
  if (write(answers, &ready, sizeof ready) != sizeof ready) {
    _exit(1);
  }
  while (read(questions, &question, sizeof question) == sizeof question) {
    const bool result = answered(question.own, &question.to, question.timeout_ms);
    if (write(answers, &result, sizeof result) != sizeof result) {
      break;
    }
  }
  _exit(0);
}

static bool peer_result(const Peer* peer)
{
  bool result = false;
  assert_int_equal(read(peer->answers, &result, sizeof result), sizeof result);
  return result;
}

/** Ask the endpoint at `host` from one of the peer's addresses. */
static bool peer_is_answered(const Peer* peer, const char* own, const char* host, int timeout_ms)
{
  Question question = {.to = endpoint(host), .timeout_ms = timeout_ms};
  snprintf(question.own, sizeof question.own, "%s", own);
  assert_int_equal(write(peer->asks, &question, sizeof question), sizeof question);
  return peer_result(peer);
}

/** Lay the cable; false if this system does not let us. */
static bool join(const Peer* peer)
{
  char command[1024];
  snprintf(command, sizeof command,
           "exec 2>/dev/null; ip link set lo up && "
           "ip link add hr0 type veth peer name hr1 netns %ld && "
           "ip address add 10.77.0.1/24 dev hr0 && ip address add 10.77.0.9/24 dev hr0 && "
           "ip link set hr0 up && "
           "nsenter -t %ld -n sh -c 'ip address add 10.77.0.2/24 dev hr1 && "
           "ip address add 10.77.0.3/24 dev hr1 && ip link set hr1 up'",
           (long)peer->process, (long)peer->process);
  return system(command) == 0;
}

static void peer_end(Peer* peer)
{
  close(peer->asks);
  waitpid(peer->process, NULL, 0);
  close(peer->answers);
  assert_int_equal(setns(peer->home, CLONE_NEWNET), 0);
  close(peer->home);
}

/** Go to a namespace of our own, too, as the real one's addresses are not ours to change. */
static bool peer_begin(Peer* peer)
{
  int questions[2];
  int answers[2];
  peer->home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  if (peer->home < 0 || unshare(CLONE_NEWNET)) {
    print_message("no right to make network namespaces: not tested\n");
    close(peer->home);
    return false;
  }
  assert_int_equal(pipe2(questions, O_CLOEXEC), 0);
  assert_int_equal(pipe2(answers, O_CLOEXEC), 0);
  peer->process = fork();
  assert_true(peer->process >= 0);
  if (!peer->process) {
    close(questions[1]);
    live_elsewhere(questions[0], answers[1]);
  }
  close(questions[0]);
  close(answers[1]);
  peer->asks = questions[1];
  peer->answers = answers[0];
  if (!peer_result(peer) || !join(peer)) {
    print_message("no right, or no ip command, to join network namespaces: not tested\n");
    peer_end(peer);
    return false;
  }
  return true;
}

/** Serve with these settings, NULL for one that is not made. */
static void serve(HrSession* session, const char* listen, const char* allow, const char* warning)
{
  HrError error;
  assert_int_equal(listen ? setenv("HR_OSC_LISTEN", listen, 1) : unsetenv("HR_OSC_LISTEN"), 0);
  assert_int_equal(allow ? setenv("HR_OSC_ALLOW", allow, 1) : unsetenv("HR_OSC_ALLOW"), 0);
  hr_osc_detach(session);
  assert_int_equal(hr_osc_attach(session, &error), HR_OK);
  if (!strstr(error.text, warning) || !*error.text != !*warning) {
    fail_msg("\"%s\" was to say \"%s\"", error.text, warning);
  }
}

/** What /hr/counters tells. */
typedef struct {
  uint32_t foreign, flooded, lost;
} Counters;

static Counters read_counters(const char* host)
{
  enum { TRIES = 40 };
  static const char row[4] = "row";
  uint8_t bytes[WIRE_SIZE];
  uint32_t values[3];
  const struct sockaddr_in to = endpoint(host);
  const int descriptor = open_socket(host);
  ssize_t size = -1; // After a flood the question may be lost
  for (unsigned i = 0; size <= 0 && i < TRIES; ++i) {
    const struct timeval timeout = {.tv_usec = 250000};
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    send_bytes(descriptor, &to, bytes, serialise(bytes, "/hr/counters", ""));
    size = recv(descriptor, bytes, sizeof bytes, 0);
  }
  assert_true(size > 0);
  const uint8_t* const found = memmem(bytes, (size_t)size, row, sizeof row);
  assert_non_null(found);
  memcpy(values, found + sizeof row, sizeof values);
  close(descriptor);
  return (Counters){ntohl(values[0]), ntohl(values[1]), ntohl(values[2])};
}

static void test_other_machines(void** state)
{
  (void)state;
  static const char* const host = "10.77.0.1";
  Peer peer;
  if (!peer_begin(&peer)) {
    skip();
  }
  HrSession* session = hr_session_new(NULL, NULL);

  // Unless asked to, it is not there for others.
  serve(session, NULL, NULL, "");
  struct sockaddr_in local = endpoint("127.0.0.1");
  assert_true(answered("127.0.0.1", &local, ANSWER_MS));
  assert_false(peer_is_answered(&peer, "10.77.0.2", host, QUIET_MS));

  // With half of the settings, or a wrong one, neither.
  serve(session, "0.0.0.0", NULL, "needs HR_OSC_ALLOW");
  assert_false(peer_is_answered(&peer, "10.77.0.2", host, QUIET_MS));
  serve(session, "0.0.0.0", "10.77.0.2,10.77.0", "\"10.77.0\"");
  assert_false(peer_is_answered(&peer, "10.77.0.2", host, QUIET_MS));
  serve(session, NULL, "10.77.0.2", "needs HR_OSC_LISTEN");
  assert_false(peer_is_answered(&peer, "10.77.0.2", host, QUIET_MS));

  // One is allowed, the other is not.
  serve(session, "0.0.0.0", "10.77.0.2", "");
  local = endpoint("127.0.0.1");
  assert_true(peer_is_answered(&peer, "10.77.0.2", host, ANSWER_MS));
  assert_int_equal(read_counters("127.0.0.1").foreign, 0);
  assert_false(peer_is_answered(&peer, "10.77.0.3", host, QUIET_MS));
  assert_int_equal(read_counters("127.0.0.1").foreign, 1);
  assert_true(answered("127.0.0.1", &local, ANSWER_MS));

  // The answer comes from the address that was asked, not from the first of the interface.
  assert_true(peer_is_answered(&peer, "10.77.0.2", "10.77.0.9", ANSWER_MS));
  assert_true(peer_is_answered(&peer, "10.77.0.2", host, ANSWER_MS));

  // Both are, and the one address is listened on alone.
  serve(session, host, "10.77.0.2/31", "");
  assert_non_null(strstr(hr_osc_url(), "//10.77.0.1:"));
  assert_true(peer_is_answered(&peer, "10.77.0.2", host, ANSWER_MS));
  assert_true(peer_is_answered(&peer, "10.77.0.3", host, ANSWER_MS));
  local = endpoint(host);
  assert_true(answered(host, &local, ANSWER_MS));
  local = endpoint("127.0.0.1");
  assert_false(answered("127.0.0.1", &local, QUIET_MS));

  serve(session, NULL, NULL, "");
  hr_osc_detach(session);
  hr_session_free(session);
  peer_end(&peer);
}

/* ---- Patterns ------------------------------------------------------- */

/** True if a message without arguments is answered by one that holds `part`. */
static bool answers(int descriptor, const char* path, const char* part)
{
  uint8_t bytes[WIRE_SIZE];
  const struct sockaddr_in to = endpoint("127.0.0.1");
  send_bytes(descriptor, &to, bytes, serialise(bytes, path, ""));
  return hears(descriptor, part, ANSWER_MS);
}

static bool is_thru(const Rig* rig)
{
  HrSessionState now;
  hr_session_state(rig->session, &now);
  return now.thru;
}

/** Through a socket: by number and by name; every command that is meant runs, and
 * none of a pattern that is malformed or means too much. */
static void test_patterns(void** state)
{
  (void)state;
  Rig rig;
  char closing[64];
  assert_true(rig_open(&rig, &(HrAttachment){.store = scratch_path("pattern.hr")}));
  rig_play(&rig, 0, 0x90, 60, 100);
  rig_run(&rig, rig.block);
  const HrValue tree = hr_value_text("Grand Piano");
  assert_int_equal(rig_command(&rig, "tree", &tree, 1), HR_OK);
  assert_int_equal(hr_osc_attach(rig.session, NULL), HR_OK);
  const unsigned number = hr_session_number(rig.session);
  const int descriptor = open_socket("127.0.0.1");
  const bool before = is_thru(&rig);

  static const char* const good[] = {"/hr/*/thr?", "/hr/Gr*P[a-i]ano/{thru,xyz}",
                                     "/hr/[0-9]*/t[!o]ru"};
  snprintf(closing, sizeof closing, "/hr/%u/thru", number);
  for (size_t i = 0; i < 3; ++i) {
    assert_true(answers(descriptor, good[i], closing));
    assert_int_equal(is_thru(&rig), i % 2 ? before : !before);
  }
  snprintf(closing, sizeof closing, "/hr/%u/trees", number);
  assert_true(answers(descriptor, "/hr/*/{list,trees,marks}", closing));

  static const char* const bad[][2] = {
      {"/hr/*/{thru", "malformed"},   {"/hr/[/thru", "malformed"},    {"/hr/*/*", "more than 8"},
      {"/hr/x*/thru", "no instance"}, {"/hr/*/thrx?", "There is no"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; ++i) {
    const bool thru = is_thru(&rig);
    assert_true(answers(descriptor, bad[i][0], bad[i][1]));
    assert_int_equal(is_thru(&rig), thru);
  }
  close(descriptor);
  hr_osc_detach(rig.session);
  rig_close(&rig);
}

/* ---- Floods --------------------------------------------------------- */

enum {
  FLOOD_PER_MS = 50,
  COMMAND_US = 5000,    // From one command of the other sender to the next
  COMMANDS_MAX = 20000, // Ten minutes' worth, were all answered at once
  LATE_US = 20000,      // Longest that 99 of 100 commands may take
  FLOOD_LEAST = 49000,  // Packets a second that are a flood
  NOTE_BLOCKS = 10,     // From one note to the next
};

static atomic_bool finished;
static struct sockaddr_in flooded;
static size_t flood_sent;
static int64_t longest_block_us;
static uint64_t events_played;

/** Send FLOOD_PER_MS packets each millisecond: questions, noise and commands. */
static void* flood(void* unused)
{
  static uint8_t packets[3][WIRE_SIZE];
  const size_t sizes[3] = {serialise(packets[0], "/hr/ping", ""),
                           serialise(packets[1], "/hr/*/list", ""),
                           serialise(packets[2], "/hr/[1-9]*/{thru,record}", "i", 1)};
  const int descriptor = open_socket("127.0.0.1");
  int64_t due_us = now_us();
  (void)unused;
  while (!atomic_load(&finished)) {
    for (unsigned i = 0; i < FLOOD_PER_MS; ++i) {
      const size_t packet = flood_sent++ % 3;
      sendto(descriptor, packets[packet], sizes[packet], MSG_DONTWAIT,
             (const struct sockaddr*)&flooded, sizeof flooded);
    }
    due_us += 1000;
    const int64_t wait_us = due_us - now_us();
    if (wait_us > 0) {
      sleep_us(wait_us);
    }
  }
  close(descriptor);
  return NULL;
}

/** The host's audio thread: blocks in real time, with notes in them. */
static void* audio(void* data)
{
  const struct sched_param parameters = {.sched_priority = 70};
  Rig* const rig = data;
  pthread_setschedparam(pthread_self(), SCHED_FIFO, &parameters); // Where that is allowed
  int64_t due_us = now_us();
  for (unsigned block = 0; !atomic_load(&finished); ++block) {
    if (block % NOTE_BLOCKS == 0) {
      const uint8_t status = block / NOTE_BLOCKS % 2 ? 0x80 : 0x90;
      rig_play(rig, 7, status, 60, 100);
      events_played += 1;
    }
    const int64_t begun_us = now_us();
    rig_run_block(rig, rig->block);
    const int64_t took_us = now_us() - begun_us;
    longest_block_us = took_us > longest_block_us ? took_us : longest_block_us;
    due_us += INT64_C(1000000) * rig->block / RIG_RATE;
    const int64_t wait_us = due_us - now_us();
    if (wait_us > 0) {
      sleep_us(wait_us);
    }
  }
  return NULL;
}

/** The host's worker thread. */
static void* worker(void* data)
{
  Rig* const rig = data;
  while (!atomic_load(&finished)) {
    hr_session_work(rig->session);
    sleep_us(5000);
  }
  return NULL;
}

static int by_time(const void* a, const void* b)
{
  const int64_t left = *(const int64_t*)a;
  const int64_t right = *(const int64_t*)b;
  return (left > right) - (left < right);
}

/** Run one command, sent again under its id until it is answered. Returns
 * microseconds; 0 if it is not answered at all. */
static int64_t run_command(int descriptor, unsigned turn, unsigned* resent)
{
  enum { TRIES = 20, TRY_MS = 250 };
  uint8_t bytes[WIRE_SIZE];
  char id[32];
  char name[32];
  snprintf(id, sizeof id, "id=%u", turn);
  snprintf(name, sizeof name, "branch %u", turn);
  size_t size = 0;
  if (turn % 20 == 0) {
    size = serialise(bytes, "/hr/*/fork", "ss", name, id);
  } else if (turn % 2) {
    size = serialise(bytes, "/hr/*/loop", "is", (int)(turn / 2 % 2), id);
  } else {
    size = serialise(bytes, "/hr/*/quantum", "ss", turn / 2 % 2 ? "bar" : "now", id);
  }
  const int64_t begun_us = now_us();
  for (unsigned i = 0; i < TRIES; ++i) {
    *resent += i > 0;
    send_bytes(descriptor, &flooded, bytes, size);
    if (hears(descriptor, id, TRY_MS)) {
      return now_us() - begun_us + 1;
    }
  }
  return 0;
}

/** 50,000 packets a second from one sender for HR_FLOOD_SECONDS: another's commands are
 * all answered in time, no block takes as long as it lasts, and every note that is
 * played is kept. Where it is not set it is 2 s, and other tests may run beside: then only
 * what does not depend on the machine is judged. */
static void test_flood(void** state)
{
  (void)state;
  static int64_t times[COMMANDS_MAX];
  const char* const seconds = getenv("HR_FLOOD_SECONDS");
  const int64_t length_us = (seconds ? strtol(seconds, NULL, 10) : 2) * INT64_C(1000000);
  Rig rig;
  pthread_t threads[3];
  assert_true(rig_open(&rig, &(HrAttachment){.store = scratch_path("flood.hr")}));
  rig.idle = true; // The worker has a thread of its own
  rig_run(&rig, rig.block);
  assert_int_equal(hr_osc_attach(rig.session, NULL), HR_OK);
  flooded = endpoint("127.0.0.1");
  const int descriptor = open_socket("127.0.0.1");

  atomic_store(&finished, false);
  assert_int_equal(pthread_create(&threads[0], NULL, audio, &rig), 0);
  assert_int_equal(pthread_create(&threads[1], NULL, worker, &rig), 0);
  sleep_us(100000);
  assert_int_equal(pthread_create(&threads[2], NULL, flood, NULL), 0);
  unsigned count = 0;
  unsigned resent = 0;
  const int64_t begun_us = now_us();
  while (now_us() - begun_us < length_us && count < COMMANDS_MAX) {
    times[count] = run_command(descriptor, count, &resent);
    if (!times[count]) {
      break;
    }
    count += 1;
    sleep_us(COMMAND_US);
  }
  const int64_t took_us = now_us() - begun_us;
  const bool all = took_us >= length_us || count == COMMANDS_MAX;
  atomic_store(&finished, true);
  for (size_t i = 0; i < 3; ++i) {
    pthread_join(threads[i], NULL);
  }
  close(descriptor);
  hr_session_work(rig.session);
  const Counters counters = read_counters("127.0.0.1");
  HrSessionState after;
  hr_session_state(rig.session, &after);
  hr_osc_detach(rig.session);
  rig_close(&rig);

  assert_true(all); // Else one was not answered
  assert_true(count > 20);
  qsort(times, count, sizeof times[0], by_time);
  const int64_t median_us = times[count / 2];
  const int64_t late_us = times[count * 99 / 100];
  print_message("flood of %.0f packets/s: %u commands of another answered, %u of them sent again; "
                "median %.2f ms, 99 %% %.2f ms, worst %.2f ms; longest block %.2f ms\n",
                (double)flood_sent * 1e6 / (double)took_us, count, resent, (double)median_us / 1e3,
                (double)late_us / 1e3, (double)times[count - 1] / 1e3,
                (double)longest_block_us / 1e3);
  assert_true(counters.flooded > flood_sent / 2);
  assert_int_equal(after.dropped, 0);
  assert_int_equal(after.recorded, events_played);
  if (seconds) {
    assert_true((double)flood_sent * 1e6 / (double)took_us >= FLOOD_LEAST);
    assert_in_range(late_us, 0, LATE_US);
    assert_in_range(longest_block_us, 0, INT64_C(1000000) * rig.block / RIG_RATE);
  }
}

static int group_setup(void** state)
{
  static char port[16];
  (void)state;
  if (scratch_make()) {
    return -1;
  }
  snprintf(port, sizeof port, "%d", 33000 + (int)getpid() % 180 * HR_OSC_PORT_COUNT);
  return setenv("HR_OSC_PORT", port, 1);
}

static int group_teardown(void** state)
{
  (void)state;
  scratch_remove();
  return 0;
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_other_machines),
      cmocka_unit_test(test_patterns),
      cmocka_unit_test(test_flood),
  };
  return cmocka_run_group_tests_name("osc network", tests, group_setup, group_teardown);
}
