/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file own.h
 * The endpoint's own commands, those that need no instance. Each answers its
 * rows through hr_osc_answer_row(); the dispatcher closes the answer.
 */

#ifndef HR_OSC_OWN_H
#define HR_OSC_OWN_H

#include "osc/dispatch.h"
#include "store/status.h"

HrStatus hr_osc_run_ping(HrOscRequest* request, HrError* error);
HrStatus hr_osc_run_instances(HrOscRequest* request, HrError* error);
HrStatus hr_osc_run_counters(HrOscRequest* request, HrError* error);
HrStatus hr_osc_run_help(HrOscRequest* request, HrError* error);
HrStatus hr_osc_run_subscribe(HrOscRequest* request, HrError* error);
HrStatus hr_osc_run_unsubscribe(HrOscRequest* request, HrError* error);
HrStatus hr_osc_run_refresh(HrOscRequest* request, HrError* error);
HrStatus hr_osc_run_position_rate(HrOscRequest* request, HrError* error);

#endif
