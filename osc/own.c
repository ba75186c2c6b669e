/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "osc/own.h"
#include "osc/leases.h"
#include "osc/socket.h"
#include "osc/table.h"
#include "osc/text.h"

#include <arpa/inet.h>
#include <math.h>
#include <string.h>

enum {
  PORT_HIGHEST = 65535,
  SHOWN_MAX = 60 // Bytes of a sender's text repeated in an error
};

HrStatus hr_osc_run_ping(HrOscRequest* request, HrError* error)
{
  (void)error;
  const HrOscEndpoint* endpoint = request->endpoint;
  HrSessionState state;
  char trouble[sizeof state.trouble_text] = "";
  int64_t count = 0;
  for (const HrOscInstance* instance = endpoint->instances; instance; instance = instance->next) {
    hr_session_state(instance->session, &state);
    if (state.trouble && !*trouble) {
      memcpy(trouble, state.trouble_text, sizeof trouble);
    }
    ++count;
  }
  const HrValue values[] = {
      hr_value_text("halfremembered"),   hr_value_text(HR_VERSION),
      hr_value_integer(HR_OSC_PROTOCOL), hr_value_integer(count),
      hr_value_text(endpoint->url),      hr_value_text(*trouble ? trouble : "ready")};
  hr_osc_answer_row(request, values, sizeof values / sizeof *values);
  return HR_OK;
}

HrStatus hr_osc_run_instances(HrOscRequest* request, HrError* error)
{
  (void)error;
  const HrOscInstance* instance = request->endpoint->instances;
  for (; instance; instance = instance->next) {
    HrSessionState state;
    hr_session_state(instance->session, &state);
    const HrValue values[] = {hr_value_integer(instance->number), hr_value_text(state.tree_name),
                              hr_value_text(state.branch_name), hr_value_integer(state.running)};
    hr_osc_answer_row(request, values, 4);
  }
  return HR_OK;
}

HrStatus hr_osc_run_counters(HrOscRequest* request, HrError* error)
{
  (void)error;
  const HrOscEndpoint* endpoint = request->endpoint;
  const HrValue values[] = {
      hr_value_integer((int64_t)endpoint->foreign), hr_value_integer((int64_t)endpoint->flooded),
      hr_value_integer((int64_t)endpoint->outbox.lost), hr_value_integer(endpoint->overrun)};
  hr_osc_answer_row(request, values, 4);
  return HR_OK;
}

HrStatus hr_osc_run_help(HrOscRequest* request, HrError* error)
{
  const bool one = request->count && request->values[0].type == HR_VALUE_TEXT;
  const char* verb = one ? request->values[0].text : "";
  bool found = !one;

  const size_t count = hr_osc_row_count();
  for (size_t i = 0; i < count; ++i) {
    HrOscRow row;
    hr_osc_row(i, &row);
    if (!one || !strcmp(verb, row.verb)) {
      const HrValue values[] = {hr_value_text(row.address), hr_value_text(row.arguments),
                                hr_value_text(row.summary)};
      hr_osc_answer_row(request, values, 3);
      found = true;
    }
  }
  if (found) {
    return HR_OK;
  }
  const char* nearest = hr_osc_row_nearest(verb);
  return hr_error(error, HR_ERR_NOT_FOUND, "There is no \"%.*s\"%s%s; /hr/help lists all.",
                  (int)hr_osc_text_cut(verb, SHOWN_MAX), verb, nearest ? ": did you mean " : "",
                  nearest ? nearest : "");
}

/** A value as a number; false for a text. */
static bool as_number(const HrValue* value, double* number)
{
  *number = value->type == HR_VALUE_NUMBER ? value->number : (double)value->integer;
  return value->type != HR_VALUE_TEXT && value->type != HR_VALUE_BYTES;
}

/** True if the arguments are a button's release. */
static bool is_release(const HrOscRequest* request)
{
  double number = 1.0;
  return request->count && as_number(&request->values[0], &number) && number == 0.0;
}

/** Where the subscriber of a request is to be told: always the IP that asked, its
 * own port or the one that argument `index` names. 1 is a button's press, not a port. */
static HrStatus subscriber_address(const HrOscRequest* request, size_t index,
                                   struct sockaddr_in* to, HrError* error)
{
  *to = *request->from;
  if (request->count <= index) {
    return HR_OK;
  }
  double port = 0.0;
  if (as_number(&request->values[index], &port) && port == 1.0) {
    return HR_OK;
  }
  if (!(port >= HR_OSC_PORT_LOWEST && port <= PORT_HIGHEST) || port != floor(port)) {
    return hr_error(error, HR_ERR_ARGUMENT,
                    "Argument %zu must be a port from %d to %d, or 1 for the port you send "
                    "from.",
                    index + 1, HR_OSC_PORT_LOWEST, PORT_HIGHEST);
  }
  to->sin_port = htons((uint16_t)port);
  if (hr_osc_is_own_address(request->endpoint, to)) {
    return hr_error(error, HR_ERR_ARGUMENT, "Port %d is the one HalfRemembered itself listens on.",
                    (int)port);
  }
  return HR_OK;
}

static HrStatus lease_seconds(const HrOscRequest* request, int64_t* seconds, HrError* error)
{
  *seconds = HR_OSC_LEASE_DEFAULT;
  if (request->count < 2) {
    return HR_OK;
  }
  double lease = 0.0;
  if (!as_number(&request->values[1], &lease) || !(lease >= 1.0 && lease <= HR_OSC_LEASE_MAX) ||
      lease != floor(lease)) {
    return hr_error(error, HR_ERR_ARGUMENT,
                    "The second argument must be a lease of 1 to %d whole seconds.",
                    HR_OSC_LEASE_MAX);
  }
  *seconds = (int64_t)lease;
  return HR_OK;
}

static void keep_leases(const HrOscEndpoint* endpoint)
{
  hr_osc_leases_write(&endpoint->subscribers, ntohs(endpoint->address.sin_port));
}

HrStatus hr_osc_run_subscribe(HrOscRequest* request, HrError* error)
{
  if (is_release(request)) {
    return HR_OK;
  }
  struct sockaddr_in to;
  int64_t seconds = 0;
  HrStatus st = subscriber_address(request, 0, &to, error);
  if (!st) {
    st = lease_seconds(request, &seconds, error);
  }
  if (st) {
    return st;
  }

  HrOscSubscriber* subscriber =
      hr_osc_subscribe(&request->endpoint->subscribers, &to, seconds, request->now_ns);
  if (!subscriber) {
    return hr_error(error, HR_ERR_LIMIT,
                    "All %d places for controllers are taken: send /hr/unsubscribe from one, or "
                    "wait for a lease to end.",
                    HR_OSC_SUBSCRIBERS_MAX);
  }
  hr_osc_subscriber_owe(subscriber);
  keep_leases(request->endpoint);
  const HrValue values[] = {hr_value_integer(ntohs(to.sin_port)), hr_value_integer(seconds)};
  hr_osc_answer_row(request, values, 2);
  return HR_OK;
}

/** The subscriber of a request, whose port argument `index` may name. */
static HrStatus find_subscriber(const HrOscRequest* request, size_t index,
                                HrOscSubscriber** subscriber, HrError* error)
{
  struct sockaddr_in to;
  const HrStatus st = subscriber_address(request, index, &to, error);
  if (st) {
    return st;
  }
  *subscriber = hr_osc_subscriber_find(&request->endpoint->subscribers, &to);
  if (!*subscriber) {
    return hr_error(error, HR_ERR_NOT_FOUND,
                    "Port %d is not subscribed (any more): send /hr/subscribe first.",
                    ntohs(to.sin_port));
  }
  return HR_OK;
}

HrStatus hr_osc_run_unsubscribe(HrOscRequest* request, HrError* error)
{
  if (is_release(request)) {
    return HR_OK;
  }
  HrOscSubscriber* subscriber = NULL;
  const HrStatus st = find_subscriber(request, 0, &subscriber, error);
  if (!st) {
    hr_osc_unsubscribe(&request->endpoint->subscribers, subscriber);
    keep_leases(request->endpoint);
  }
  return st;
}

HrStatus hr_osc_run_refresh(HrOscRequest* request, HrError* error)
{
  if (is_release(request)) {
    return HR_OK;
  }
  HrOscSubscriber* subscriber = NULL;
  const HrStatus st = find_subscriber(request, 0, &subscriber, error);
  if (!st) {
    hr_osc_subscriber_owe(subscriber);
  }
  return st;
}

HrStatus hr_osc_run_position_rate(HrOscRequest* request, HrError* error)
{
  double hertz = -1.0;
  if (!request->count || !as_number(&request->values[0], &hertz) ||
      !(hertz >= 0.0 && hertz <= HR_OSC_POSITION_RATE_MAX)) {
    return hr_error(error, HR_ERR_ARGUMENT, "position/rate takes 0 to %d hertz.",
                    HR_OSC_POSITION_RATE_MAX);
  }
  HrOscSubscriber* subscriber = NULL;
  const HrStatus st = find_subscriber(request, 1, &subscriber, error);
  if (!st) {
    subscriber->position_rate = hertz;
    subscriber->position_due_ns = request->now_ns;
    keep_leases(request->endpoint);
  }
  return st;
}
