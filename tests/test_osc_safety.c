/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Whom the OSC endpoint answers, how much, and what address patterns mean. */

#include "osc/allow_list.h"
#include "osc/pattern.h"
#include "osc/rate_limit.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* ---- The allow-list ------------------------------------------------- */

static struct in_addr address(const char* text)
{
  struct in_addr result = {0};
  assert_int_equal(inet_pton(AF_INET, text, &result), 1);
  return result;
}

static bool admits(const HrOscAllowList* list, const char* text)
{
  return hr_osc_allow_list_admits(list, address(text));
}

static void test_allow_list(void** state)
{
  (void)state;
  HrOscAllowList list;
  HrError error;
  assert_int_equal(
      hr_osc_allow_list_read(&list, " 192.168.1.0/24, 10.0.0.7,172.16.0.0/12,", &error), HR_OK);
  assert_int_equal(list.count, 3);
  assert_true(admits(&list, "192.168.1.0"));
  assert_true(admits(&list, "192.168.1.255"));
  assert_false(admits(&list, "192.168.2.0"));
  assert_false(admits(&list, "192.168.0.255"));
  assert_true(admits(&list, "10.0.0.7"));
  assert_false(admits(&list, "10.0.0.6"));
  assert_false(admits(&list, "10.0.0.8"));
  assert_true(admits(&list, "172.31.255.255"));
  assert_false(admits(&list, "172.32.0.0"));
  assert_true(admits(&list, "127.0.0.1"));
  assert_false(admits(&list, "0.0.0.0"));
  assert_false(admits(&list, "255.255.255.255"));

  assert_int_equal(hr_osc_allow_list_read(&list, "", &error), HR_OK);
  assert_true(admits(&list, "127.0.0.1"));
  assert_true(admits(&list, "127.255.0.1"));
  assert_false(admits(&list, "128.0.0.1"));
  assert_false(admits(&list, "126.255.255.255"));

  assert_int_equal(hr_osc_allow_list_read(&list, "0.0.0.0/0", &error), HR_OK);
  assert_true(admits(&list, "203.0.113.9"));
}

static void test_allow_list_malformed(void** state)
{
  (void)state;
  static const char* const wrong[] = {
      "192.168.1",
      "192.168.1.256",
      "192.168.1.0/33",
      "192.168.1.0/",
      "192.168.1.0/-1",
      "192.168.1.0/2x",
      "192.168.1.7/24",
      "192.168.1.0/255.255.255.0",
      "tablet",
      "fe80::1",
      "*",
      "10.0.0.7;10.0.0.8",
      "/24",
      "10.0.0.7/032",
      "10.0.0.7/ 32",
  };
  HrOscAllowList list;
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; ++i) {
    char text[128];
    HrError error = {.status = HR_OK};
    snprintf(text, sizeof text, "10.0.0.1,%s,10.0.0.2", wrong[i]);
    assert_int_equal(hr_osc_allow_list_read(&list, text, &error), HR_ERR_ARGUMENT);
    assert_non_null(strstr(error.text, "HR_OSC_ALLOW"));
    assert_int_equal(list.count, 0);
    assert_false(admits(&list, "10.0.0.1"));
  }

  char many[(HR_OSC_ALLOWED_MAX + 1) * sizeof "10.0.0.1,"] = "";
  for (size_t i = 0; i < HR_OSC_ALLOWED_MAX; ++i) {
    strcat(many, "10.0.0.1,");
  }
  assert_int_equal(hr_osc_allow_list_read(&list, many, NULL), HR_OK);
  strcat(many, "10.0.0.1");
  assert_int_equal(hr_osc_allow_list_read(&list, many, NULL), HR_ERR_LIMIT);
  assert_int_equal(list.count, 0);
}

static void set(const char* name, const char* value)
{
  assert_int_equal(value ? setenv(name, value, 1) : unsetenv(name), 0);
}

/** Loopback alone is listened on unless all is said, and said right. */
static void test_configuration(void** state)
{
  (void)state;
  static const struct {
    const char* listen;
    const char* allow;
    HrStatus status;
    const char* address;
    const char* part; ///< Of the error
  } cases[] = {
      {NULL, NULL, HR_OK, "127.0.0.1", ""},
      {"", "", HR_OK, "127.0.0.1", ""},
      {"0.0.0.0", "10.0.0.7", HR_OK, "0.0.0.0", ""},
      {"127.0.0.2", "10.0.0.7", HR_OK, "127.0.0.2", ""},
      {"127.0.0.1", NULL, HR_OK, "127.0.0.1", ""},
      {"0.0.0.0", NULL, HR_ERR_ARGUMENT, "127.0.0.1", "needs HR_OSC_ALLOW"},
      {"0.0.0.0", " , ", HR_ERR_ARGUMENT, "127.0.0.1", "needs HR_OSC_ALLOW"},
      {"0.0.0.0", "10.0.0", HR_ERR_ARGUMENT, "127.0.0.1", "\"10.0.0\""},
      {"192.0.2.1", "10.0.0.7", HR_ERR_ARGUMENT, "127.0.0.1", "\"192.0.2.1\""}, // Nobody's
      {"lan", "10.0.0.7", HR_ERR_ARGUMENT, "127.0.0.1", "\"lan\""},
      {NULL, "10.0.0.7", HR_ERR_ARGUMENT, "127.0.0.1", "needs HR_OSC_LISTEN"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
    HrOscAllowList list;
    struct in_addr listen;
    HrError error = {.status = HR_OK};
    set("HR_OSC_LISTEN", cases[i].listen);
    set("HR_OSC_ALLOW", cases[i].allow);
    assert_int_equal(hr_osc_allow_list_configured(&list, &listen, &error), cases[i].status);
    assert_int_equal(listen.s_addr, address(cases[i].address).s_addr);
    assert_non_null(strstr(error.text, cases[i].part));
    assert_int_equal(!error.text[0], !cases[i].part[0]);
    if (cases[i].status) {
      assert_non_null(strstr(error.text, "this machine only"));
      assert_int_equal(list.count, 0);
    }
  }
  set("HR_OSC_LISTEN", NULL);
  set("HR_OSC_ALLOW", NULL);
}

/* ---- The rate limit ------------------------------------------------- */

#define SECOND_NS INT64_C(1000000000)

static struct sockaddr_in sender(unsigned number)
{
  return (struct sockaddr_in){.sin_family = AF_INET,
                              .sin_port = htons((uint16_t)(1024 + number)),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/** Packets taken of `count` that a sender sends at equal intervals within a second. */
static unsigned taken(HrOscRateLimit* limit, unsigned number, unsigned count, int64_t now_ns)
{
  const struct sockaddr_in from = sender(number);
  unsigned result = 0;
  for (unsigned i = 0; i < count; ++i) {
    result += hr_osc_rate_limit_take(limit, &from, now_ns + SECOND_NS * i / count);
  }
  return result;
}

static void test_rate_limit(void** state)
{
  (void)state;
  static HrOscRateLimit limit;
  const int64_t begin_ns = 5 * SECOND_NS;

  // Within the rate nothing is dropped, however long it goes on.
  for (unsigned i = 0; i < 10; ++i) {
    assert_int_equal(taken(&limit, 0, HR_OSC_RATE_MAX, begin_ns + i * SECOND_NS), HR_OSC_RATE_MAX);
  }
  // A flood gets the burst and then the rate, and disturbs nobody else.
  const unsigned first = taken(&limit, 1, 50000, begin_ns);
  assert_in_range(first, HR_OSC_RATE_MAX + HR_OSC_RATE_BURST_MAX - 2,
                  HR_OSC_RATE_MAX + HR_OSC_RATE_BURST_MAX);
  const unsigned second = taken(&limit, 1, 50000, begin_ns + SECOND_NS);
  assert_in_range(second, HR_OSC_RATE_MAX - 2, HR_OSC_RATE_MAX + 2);
  assert_int_equal(taken(&limit, 2, 100, begin_ns + SECOND_NS), 100);
  // After a rest the burst is there again.
  assert_in_range(taken(&limit, 1, 50000, begin_ns + 4 * SECOND_NS), first - 2, first + 2);
}

/** More senders than there are places share one bucket, until places are free again. */
static void test_rate_limit_many_senders(void** state)
{
  (void)state;
  static HrOscRateLimit limit;
  const int64_t begin_ns = 5 * SECOND_NS;
  unsigned result = 0;
  for (unsigned i = 0; i < 20000; ++i) {
    const struct sockaddr_in from = sender(i);
    result += hr_osc_rate_limit_take(&limit, &from, begin_ns);
  }
  assert_int_equal(result, HR_OSC_SENDERS_MAX + HR_OSC_RATE_BURST_MAX);
  const struct sockaddr_in late = sender(30000);
  assert_false(hr_osc_rate_limit_take(&limit, &late, begin_ns));
  assert_true(hr_osc_rate_limit_take(&limit, &late, begin_ns + SECOND_NS));
}

/* ---- Patterns ------------------------------------------------------- */

static bool matches(const char* text, const char* part)
{
  HrOscPattern pattern;
  HrError error = {.status = HR_OK};
  if (hr_osc_pattern_read(&pattern, text, strlen(text), &error)) {
    fail_msg("%s: %s", text, error.text);
  }
  return hr_osc_pattern_matches(&pattern, part);
}

static void test_pattern(void** state)
{
  (void)state;
  static const struct {
    const char* pattern;
    const char* yes[4];
    const char* no[4];
  } cases[] = {
      {"fork", {"fork"}, {"for", "forks", "", "Fork"}},
      {"", {""}, {"a"}},
      {"?", {"a", "1", "\xC3\xA9", "\xF0\x9F\x8E\xB9"}, {"", "ab", "/", "\xC3\xA9\xC3\xA9"}},
      {"f?rk", {"fork", "f\xC3\xA9rk"}, {"frk", "foork", "f/rk"}},
      {"*", {"", "a", "Grand_Piano", "\xC3\xA9"}, {"a/b", "/"}},
      {"f*", {"f", "fork"}, {"", "fork/at", "of"}},
      {"f*/*", {"fork/at", "f/"}, {"fork", "fork/at/x"}},
      {"*o*", {"o", "loop", "fork"}, {"", "range"}},
      {"a**b", {"ab", "axb"}, {"a", "b", "abc"}},
      {"[abc]", {"a", "c"}, {"d", "", "ab"}},
      {"[a-c1]x", {"ax", "bx", "1x"}, {"dx", "-x", "2x"}},
      {"[a-]", {"a", "-"}, {"b"}},
      {"[!a-c]", {"d", "-", "\xC3\xA9"}, {"a", "c", "", "/"}},
      {"[a!]", {"a", "!"}, {"b"}},
      {"[.-0]", {".", "0"}, {"/"}},
      {"{fork,stop}", {"fork", "stop"}, {"for", "forkstop", "", ","}},
      {"{fork,fork/at}", {"fork", "fork/at"}, {"fork/", "at"}},
      {"re{cord,play,}", {"record", "replay", "re"}, {"red", "recordplay"}},
      {"x{a,b}{c,d}y", {"xacy", "xbdy"}, {"xaby", "xy"}},
      {"{a*,?b}c", {"ac", "axyc", "xbc"}, {"bc", "xc"}},
      {"{}", {""}, {"a"}},
      {"a,b", {"a,b"}, {"a", "b"}},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
    for (size_t j = 0; j < 4; ++j) {
      if (cases[i].yes[j] && !matches(cases[i].pattern, cases[i].yes[j])) {
        fail_msg("%s does not match \"%s\"", cases[i].pattern, cases[i].yes[j]);
      }
      if (cases[i].no[j] && matches(cases[i].pattern, cases[i].no[j])) {
        fail_msg("%s matches \"%s\"", cases[i].pattern, cases[i].no[j]);
      }
    }
  }
}

static void test_pattern_malformed(void** state)
{
  (void)state;
  static const char* const wrong[] = {
      "[",     "[a",    "]", "a]",     "[]",  "[!]", "{",   "{a,b",         "}",         "a}",
      "{a{b}", "[b-a]", "[", "{a,[b}", "{[}", "x[!", "*{*", "[a-\xC3\xA9]", "[\xC3\xA9]"};
  HrOscPattern pattern;
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; ++i) {
    HrError error = {.status = HR_OK};
    if (hr_osc_pattern_read(&pattern, wrong[i], strlen(wrong[i]), &error) != HR_ERR_ARGUMENT) {
      fail_msg("%s was taken", wrong[i]);
    }
    assert_non_null(strstr(error.text, "malformed"));
  }

  char longest[HR_OSC_PATTERN_MAX + 2];
  memset(longest, 'a', sizeof longest);
  assert_int_equal(hr_osc_pattern_read(&pattern, longest, HR_OSC_PATTERN_MAX, NULL), HR_OK);
  longest[HR_OSC_PATTERN_MAX] = '\0';
  assert_true(hr_osc_pattern_matches(&pattern, longest));
  longest[HR_OSC_PATTERN_MAX] = 'a';
  assert_int_equal(hr_osc_pattern_read(&pattern, longest, HR_OSC_PATTERN_MAX + 1, NULL),
                   HR_ERR_LIMIT);
  memset(longest, '?', sizeof longest);
  assert_int_equal(hr_osc_pattern_read(&pattern, longest, HR_OSC_PATTERN_MAX / 2 + 1, NULL),
                   HR_ERR_LIMIT);
}

static int64_t now_ns(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * SECOND_NS + now.tv_nsec;
}

/** Patterns that take others seconds: each takes no longer than its length times that
 * of the text. */
static void test_pattern_hostile(void** state)
{
  (void)state;
  static const char* const hostile[] = {
      "*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b",
      "***************************************************************",
      "{,a}{,a}{,a}{,a}{,a}{,a}{,a}{,a}{,a}{,a}{,a}{,a}{,a}{,a}{,a}b",
      "{*,*}{*,*}{*,*}{*,*}{*,*}{*,*}{*,*}{*,*}{*,*}{*,*}{*,*}{*,*}b",
      "{a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a}",
      "*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*b",
  };
  char text[4097];
  memset(text, 'a', sizeof text);
  text[sizeof text - 1] = '\0';
  for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; ++i) {
    const int64_t begun_ns = now_ns();
    assert_int_equal(matches(hostile[i], text), i == 1);
    // 4096 bytes times 63 items are 258,048 steps: a millisecond or so, or two under a sanitizer.
    assert_true(now_ns() - begun_ns < SECOND_NS);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_allow_list),
      cmocka_unit_test(test_allow_list_malformed),
      cmocka_unit_test(test_configuration),
      cmocka_unit_test(test_rate_limit),
      cmocka_unit_test(test_rate_limit_many_senders),
      cmocka_unit_test(test_pattern),
      cmocka_unit_test(test_pattern_malformed),
      cmocka_unit_test(test_pattern_hostile),
  };
  return cmocka_run_group_tests_name("osc safety", tests, NULL, NULL);
}
