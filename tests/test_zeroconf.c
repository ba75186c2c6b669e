/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* The endpoint is found by itself: a real Avahi daemon, on a D-Bus and in a network
 * of its own, hears of it, where it can be reached; and nothing is amiss without one. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "osc/osc.h"
#include "osc/socket.h"
#include "osc/zeroconf.h"
#include "tests/osc_client.h"
#include "tests/scratch.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { COME_MS = 15000, AWAY_MS = 5000, READY_MS = 10000 };

static HrSession* session;
static int home; ///< The network namespace that this process came from
static pid_t bus;
static pid_t daemon_process;

/* ---- A daemon of our own ------------------------------------------------------- */

static void write_file(const char* name, const char* text)
{
  FILE* const file = fopen(scratch_path(name), "w");
  assert_non_null(file);
  assert_true(fputs(text, file) >= 0);
  assert_int_equal(fclose(file), 0);
}

/** Start a program that ends with this one. */
static pid_t start(const char* command)
{
  const pid_t process = fork();
  assert_true(process >= 0);
  if (!process) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execl("/bin/sh", "sh", "-c", command, (char*)NULL);
    _exit(127);
  }
  return process;
}

static void end(pid_t* process)
{
  if (*process) {
    kill(*process, SIGKILL);
    waitpid(*process, NULL, 0);
  }
  *process = 0;
}

static void start_bus(void)
{
  char text[2048];
  char command[1024];
  snprintf(text, sizeof text,
           "<!DOCTYPE busconfig PUBLIC '-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN'\n"
           " 'http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd'>\n"
           "<busconfig><type>system</type><listen>unix:path=%s</listen>\n"
           "<auth>EXTERNAL</auth><policy context='default'>\n"
           "<allow send_destination='*' eavesdrop='true'/><allow eavesdrop='true'/>\n"
           "<allow own='*'/></policy></busconfig>\n",
           runtime_path("bus"));
  write_file("bus.conf", text);
  snprintf(command, sizeof command, "exec dbus-daemon --nofork --nopidfile --config-file='%s' 2>&-",
           scratch_path("bus.conf"));
  unlink(runtime_path("bus"));
  bus = start(command);
  for (int waited = 0; access(runtime_path("bus"), F_OK) && waited < READY_MS; waited += 10) {
    sleep_ms(10);
  }
  assert_int_equal(access(runtime_path("bus"), F_OK), 0);
}

/** It writes its process number below /run, which may hold another one's. */
static void start_daemon(void)
{
  char command[1024];
  write_file("avahi.conf", "[server]\nhost-name=stage\nuse-ipv4=yes\nuse-ipv6=no\nenable-dbus=yes\n"
                           "[publish]\npublish-workstation=no\npublish-hinfo=no\n");
  snprintf(command, sizeof command,
           "mkdir -p /run/avahi-daemon && mount -t tmpfs none /run/avahi-daemon && "
           "exec avahi-daemon -f '%s' --no-drop-root --no-chroot --no-rlimits >/dev/null 2>&1",
           scratch_path("avahi.conf"));
  daemon_process = start(command);
}

/** Go to a network and mounts of our own, of a cable that hangs loose at 10.77.0.1. */
static int group_setup(void** state)
{
  static char address[128];
  static char port[16];
  (void)state;
  if (scratch_make()) {
    return -1;
  }
  snprintf(address, sizeof address, "unix:path=%s", runtime_path("bus"));
  setenv("DBUS_SYSTEM_BUS_ADDRESS", address, 1);
  snprintf(port, sizeof port, "%d", 21000 + (int)getpid() % 180 * HR_OSC_PORT_COUNT);
  setenv("HR_OSC_PORT", port, 1);
  home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  if (home < 0 ||
      system("exec >/dev/null 2>&1; command -v avahi-daemon avahi-browse dbus-daemon") ||
      unshare(CLONE_NEWNET | CLONE_NEWNS)) {
    close(home);
    home = -1;
    return 0;
  }
  return system("exec 2>&1; mount --make-rprivate / && ip link set lo up && "
                "ip link add hr0 type veth peer name hr1 && ip link set hr1 up && "
                "ip address add 10.77.0.1/24 dev hr0 && ip link set hr0 up");
}

static int group_teardown(void** state)
{
  (void)state;
  if (home >= 0) {
    setns(home, CLONE_NEWNET);
    close(home);
  }
  scratch_remove();
  return 0;
}

/** True if the thread that announces, or did, is there. */
static bool is_announcing(void)
{
  DIR* const tasks = opendir("/proc/self/task");
  bool found = false;
  const struct dirent* task;
  while (tasks && (task = readdir(tasks))) {
    char path[300];
    char name[32] = "";
    snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
    FILE* const file = fopen(path, "r");
    if (file) {
      found = found || (fgets(name, sizeof name, file) && !strcmp(name, "hr-zeroconf\n"));
      fclose(file);
    }
  }
  if (tasks) {
    closedir(tasks);
  }
  return found;
}

/** Whatever it waited for has gone: then so does a thread that was left to itself. */
static int teardown(void** state)
{
  (void)state;
  hr_osc_detach(session);
  hr_session_free(session);
  session = NULL;
  end(&daemon_process);
  end(&bus);
  unsetenv("HR_OSC_LISTEN");
  unsetenv("HR_OSC_ALLOW");
  const int64_t until_ms = now_ms() + COME_MS;
  while (is_announcing() && now_ms() < until_ms) {
    sleep_ms(10);
  }
  return is_announcing() ? -1 : 0;
}

static void need_namespaces(void)
{
  if (home < 0) {
    print_message("no right to make namespaces, or no Avahi: not tested\n");
    skip();
  }
}

/* ---- Services -------------------------------------------------------------------- */

static void serve(const char* listen, const char* allow)
{
  HrError error;
  if (listen) {
    setenv("HR_OSC_LISTEN", listen, 1);
    setenv("HR_OSC_ALLOW", allow, 1);
  }
  session = hr_session_new(NULL, NULL);
  assert_non_null(session);
  assert_int_equal(hr_osc_attach(session, &error), HR_OK);
  assert_string_equal(error.text, "");
}

/** What is announced now, as avahi-browse prints it. */
static void browse(char* text, size_t size)
{
  FILE* const pipe = popen("timeout 5 avahi-browse -rpt " HR_OSC_SERVICE_TYPE " 2>/dev/null", "r");
  assert_non_null(pipe);
  const size_t count = fread(text, 1, size - 1, pipe);
  text[count] = '\0';
  pclose(pipe);
}

/** Wait until we are announced on an interface, with this address. */
static bool is_found(const char* interface, const char* address, int timeout_ms)
{
  char text[8192];
  char place[64];
  int port = 0;
  assert_int_equal(sscanf(hr_osc_url(), "osc.udp://%*[0-9.]:%d/", &port), 1);
  snprintf(place, sizeof place, ";%s;%d;", address, port);
  const int64_t until_ms = now_ms() + timeout_ms;
  bool found;
  do {
    browse(text, sizeof text);
    found = false;
    for (char* line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
      found =
          found || (!strncmp(line, "=;", 2) && !strncmp(line + 2, interface, strlen(interface)) &&
                    strstr(line, place) && strstr(line, "HalfRemembered") &&
                    strstr(line, "\"program=halfremembered\""));
    }
  } while (!found && now_ms() < until_ms);
  return found;
}

/** It comes with the daemon, goes when the endpoint does, and comes again after a
 * restart of the daemon, and of the bus. */
static void test_follows_the_daemon(void** state)
{
  (void)state;
  need_namespaces();
  serve(NULL, NULL);
  start_bus();
  start_daemon();
  assert_true(is_found("lo", "127.0.0.1", COME_MS));
  assert_false(is_found("hr0", "10.77.0.1", 0));

  end(&daemon_process);
  start_daemon();
  assert_true(is_found("lo", "127.0.0.1", COME_MS));

  end(&daemon_process);
  end(&bus);
  start_bus();
  start_daemon();
  assert_true(is_found("lo", "127.0.0.1", COME_MS));
}

static void browse_after_end(char* text, size_t size)
{
  const int64_t until_ms = now_ms() + AWAY_MS;
  do {
    browse(text, size);
  } while (strstr(text, "HalfRemembered") && now_ms() < until_ms);
}

/** Only where it is reached. */
static void test_where_it_is_reached(void** state)
{
  char text[8192];
  (void)state;
  need_namespaces();
  start_bus();
  start_daemon();

  serve("0.0.0.0", "10.77.0.0/24");
  assert_true(is_found("lo", "127.0.0.1", COME_MS));
  assert_true(is_found("hr0", "10.77.0.1", COME_MS));
  hr_osc_detach(session);
  browse_after_end(text, sizeof text);
  assert_null(strstr(text, "HalfRemembered"));
  hr_session_free(session);

  serve("10.77.0.1", "10.77.0.0/24");
  assert_true(is_found("hr0", "10.77.0.1", COME_MS));
  browse(text, sizeof text);
  assert_null(strstr(text, ";lo;"));
}

/** Two processes of one machine have two names. */
static void test_two_of_a_name(void** state)
{
  char text[8192];
  (void)state;
  need_namespaces();
  start_bus();
  start_daemon();
  serve(NULL, NULL);
  assert_true(is_found("lo", "127.0.0.1", COME_MS));
  const struct sockaddr_in other = {
      .sin_family = AF_INET, .sin_port = htons(9999), .sin_addr = {htonl(INADDR_LOOPBACK)}};
  HrOscZeroconf* const second = hr_osc_zeroconf_start(&other);
  assert_non_null(second);
  const int64_t until_ms = now_ms() + COME_MS;
  do {
    browse(text, sizeof text);
  } while (!strstr(text, ";9999;") && now_ms() < until_ms);
  hr_osc_zeroconf_stop(second);
  assert_non_null(strstr(text, "HalfRemembered\\032on\\032stage\\032\\0352"));
}

/** No daemon, no bus, or one that does not answer: all is as ever, and it ends at once. */
static void test_without_a_daemon(void** state)
{
  (void)state;
  for (unsigned i = 0; i < 3; ++i) {
    const int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un silent = {.sun_family = AF_UNIX};
    snprintf(silent.sun_path, sizeof silent.sun_path, "%s", runtime_path("bus"));
    unlink(silent.sun_path);
    if (i == 1) {
      start_bus();
    } else if (i == 2) { // Takes the connection, and says nothing
      assert_int_equal(bind(listening, (const struct sockaddr*)&silent, sizeof silent), 0);
      assert_int_equal(listen(listening, 1), 0);
    }
    serve(NULL, NULL);
    Client* const client = client_new();
    client_send(client, "/hr/ping", "");
    client_ok(client, "/hr/ping");
    client_free(client);
    const int64_t begun_ms = now_ms();
    hr_osc_detach(session);
    assert_in_range(now_ms() - begun_ms, 0, AWAY_MS); // A bus is waited for 25 s long
    hr_session_free(session);
    session = NULL;
    close(listening);
    end(&bus);
  }
}

int main(void)
{
#define TEST(test) cmocka_unit_test_teardown(test, teardown)
  const struct CMUnitTest tests[] = {
      TEST(test_without_a_daemon),
      TEST(test_follows_the_daemon),
      TEST(test_where_it_is_reached),
      TEST(test_two_of_a_name),
  };
#undef TEST
  return cmocka_run_group_tests_name("zeroconf", tests, group_setup, group_teardown);
}
