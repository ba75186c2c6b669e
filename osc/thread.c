/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "osc/thread.h"

#include <signal.h>

/** The signals that are the host's: all but those of our own faults. */
static void host_signals(sigset_t* signals)
{
  sigfillset(signals);
  sigdelset(signals, SIGSEGV);
  sigdelset(signals, SIGBUS);
  sigdelset(signals, SIGFPE);
  sigdelset(signals, SIGILL);
}

int hr_osc_thread_start(pthread_t* thread, size_t stack_bytes, void* (*run)(void* data), void* data)
{
  pthread_attr_t attributes;
  const struct sched_param ordinary = {0};
  sigset_t blocked;
  sigset_t before;

  int failed = pthread_attr_init(&attributes);
  if (failed) {
    return failed;
  }
  pthread_attr_setstacksize(&attributes, stack_bytes);
  pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED);
  pthread_attr_setschedpolicy(&attributes, SCHED_OTHER);
  pthread_attr_setschedparam(&attributes, &ordinary);

  host_signals(&blocked);
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  failed = pthread_create(thread, &attributes, run, data);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  return failed;
}
