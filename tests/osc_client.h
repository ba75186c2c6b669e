/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file osc_client.h
 * A controller for tests: a real socket, and what came in by it as lines of
 * text. What must come and does not fails the test.
 *
 * One thread at a time. */

#ifndef HR_TESTS_OSC_CLIENT_H
#define HR_TESTS_OSC_CLIENT_H

#include "store/status.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  LINES_MAX = 16384, // Messages a client holds unread
  LINE_SIZE = 2048,  // A message as text
  ANSWER_MS = 5000,  // Longest wait for what must come
  QUIET_MS = 250,    // Wait for what must not come: more than two paced items
};

/** A controller: a socket, and the messages that came in, as lines of text such
 * as `/reply "/hr/ping" "ok"`. */
typedef struct {
  int socket;
  char* lines[LINES_MAX];
  size_t first;
  size_t end;
  char line[LINE_SIZE]; ///< The one read last
  size_t datagrams;
  size_t largest; ///< Bytes of the largest datagram
  unsigned drop;  ///< Of a hundred datagrams, so many are lost on their way
  unsigned drawn; ///< State of what draws them
  size_t lost;    ///< So many were
} Client;

int64_t now_ms(void);

void sleep_ms(long ms);

struct sockaddr_in server_address(void);

Client* client_new(void);

void client_free(Client* client);

int client_port(const Client* client);

void client_send_bytes(const Client* client, const void* bytes, size_t size);

void client_send(const Client* client, const char* path, const char* types, ...);

/** Send arguments of these types: `number` stands for each number, `text` for each text. */
void client_send_values(const Client* client, const char* path, const char* types, double number,
                        const char* text);

/** Take in one datagram, if it comes in time. */
bool client_receive(Client* client, int64_t timeout_ms);

/** The next message, NULL if none comes in time. */
const char* client_next(Client* client, int64_t timeout_ms);

/** Skip to the message that begins with `prefix`; NULL if it does not come in time. */
const char* client_find(Client* client, const char* prefix, int64_t timeout_ms);

const char* client_expect(Client* client, const char* prefix);

void client_drain(Client* client);

/** Read an answer up to its closing message, which is returned, or NULL if it
 * does not come in time. `rows` may be NULL. */
const char* client_try_answer(Client* client, const char* path, char* rows_read, size_t rows_size);

/** The same, where it must come. */
const char* client_answer(Client* client, const char* path, char* rows_read, size_t rows_size);

bool is_ok(const char* closing);

/** Assert that `path` was answered with ok. */
void client_ok(Client* client, const char* path);

/** Assert that `path` was answered with the error `code`, whose text contains `part`. */
void client_error(Client* client, const char* path, HrStatus code, const char* part);

/** Read one whole state, from begin to end, as lines; the numbers of both must
 * agree. False if part of it does not come. */
bool try_read_state(Client* client, char* text, size_t text_size);

void read_state(Client* client, char* text, size_t text_size);

void subscribe(Client* client);

#endif
