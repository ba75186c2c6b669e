/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file survey.h
 * What is readable in a file, however damaged: every record and node whose
 * checksum is right, wherever its page lies. Where the trees of pages are
 * broken, that is all pages of the file; an older version of something counts
 * only if no newer one is left.
 *
 * One thread. Only reads. Memory: 64 bytes for each record and node. */

#ifndef HR_STORE_SURVEY_H
#define HR_STORE_SURVEY_H

#include "store/internal.h"
#include "store/pages.h"

/** A record or node, and where it lies. */
typedef struct {
  uint64_t id;     ///< Of the tree, the branch, the author; a journal entry's key
  uint64_t order;  ///< Ordinal of a node; id of a note; kind of a name
  HrTick tick;     ///< Of a node's first event, or of a note
  HrTick last;     ///< Of a node's last event
  uint64_t weight; ///< Of two versions the one with more counts: events, nodes, entries
  uint64_t page;
  uint16_t index;  ///< In the page; HR_SURVEY_BARE: a node whose key is lost, or of an extent
  uint8_t kind;    ///< HrRecordKind, or HR_SURVEY_NODE
  uint8_t rank;    ///< 0: in its tree; 1: cut off from it; 2: on a free page
  uint32_t author; ///< Whom it is of; 0: nobody known, or a name
} HrFound;

enum { HR_SURVEY_NODE = 100, HR_SURVEY_BARE = UINT16_MAX };

typedef struct {
  int fd;
  HrFound* found; ///< By kind, id, order; one of each
  size_t count;
} HrSurvey;

/** Look through the file. `uses` is from hr_pages_check(), NULL for a file whose
 * pages could not be checked; `damaged` says whether that found a fault.
 * `page_count` pages are there. HR_ERR_NO_MEMORY. Free with hr_survey_free(). */
HrStatus hr_survey(HrSurvey* survey, int fd, const uint8_t* uses, bool damaged, uint64_t page_count,
                   uint64_t last_page);
void hr_survey_free(HrSurvey* survey);

/** The first that is found of a kind at or after `id`: its index; `count` if there is none. */
size_t hr_survey_seek(const HrSurvey* survey, unsigned kind, uint64_t id);

/** What is found of a kind with this id and order; NULL if nothing is. */
const HrFound* hr_survey_find(const HrSurvey* survey, unsigned kind, uint64_t id, uint64_t order);

/** The value of what was found, without its checksum, allocated; NULL if it
 * cannot be read any more. */
void* hr_survey_value(const HrSurvey* survey, const HrFound* found, size_t* size);

/** The next branch, in the order of ids, that has a record or a node; 0 after the last. */
uint64_t hr_survey_next_branch(const HrSurvey* survey, uint64_t after);

/** The record of a branch. False if it is lost. */
bool hr_survey_branch(const HrSurvey* survey, HrBranchId id, HrBranchRecord* record);
bool hr_survey_tree(const HrSurvey* survey, HrTreeId id, HrTreeRecord* record);
bool hr_survey_name(const HrSurvey* survey, HrNameKind kind, uint64_t id,
                    char name[HR_NAME_MAX + 1]);
/** A branch's name, or "#3 of tree 1" if that is lost. */
const char* hr_survey_label(const HrSurvey* survey, HrBranchId id, char label[HR_NAME_MAX + 32]);

/** Say what is lost, a sentence for each stretch of music, record and name of a tree or a branch.
 * Returns how many. */
uint64_t hr_survey_tell(HrSurvey* survey, void (*tell)(void* data, const char* sentence),
                        void* data);

#endif
