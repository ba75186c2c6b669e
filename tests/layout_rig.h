/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file layout_rig.h
 * A controller as it is written (tools/layout.h), and the parts of the one for
 * TouchOSC, for tests. */

#ifndef HR_TESTS_LAYOUT_RIG_H
#define HR_TESTS_LAYOUT_RIG_H

#include "tools/layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <libxml/parser.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/** Write a layout to memory; the caller's to free. */
static inline char* write_layout(const char* kind, unsigned instance, size_t* size)
{
  char* text = NULL;
  FILE* const file = open_memstream(&text, size);
  HrError error = {HR_OK, ""};
  assert_int_equal(hr_layout_write(kind, instance, file, &error), HR_OK);
  assert_int_equal(fclose(file), 0);
  return text;
}

/** The XML of the layout for TouchOSC, as text; the caller's to free. */
static inline char* write_touchosc_xml(unsigned instance)
{
  enum { ROOM = 1 << 20 };
  size_t packed_size = 0;
  char* const packed = write_layout("touchosc", instance, &packed_size);
  char* const xml = malloc(ROOM);
  uLongf size = ROOM - 1;
  assert_int_equal(uncompress((Bytef*)xml, &size, (const Bytef*)packed, packed_size), Z_OK);
  xml[size] = '\0';
  free(packed);
  return xml;
}

static inline bool is(const xmlNode* node, const char* name)
{
  return node->type == XML_ELEMENT_NODE && !strcmp((const char*)node->name, name);
}

static inline const xmlNode* child(const xmlNode* node, const char* name)
{
  const xmlNode* found = node->children;
  while (found && !is(found, name)) {
    found = found->next;
  }
  return found;
}

/** The text in a child; "" if it is empty. It stays for the program's life. */
static inline const char* text_in(const xmlNode* node, const char* name)
{
  const xmlNode* const holder = child(node, name);
  if (!holder) {
    fail_msg("<%s> has no <%s>", (const char*)node->name, name);
    return "";
  }
  return holder->children ? (const char*)holder->children->content : "";
}

static inline const char* attribute(const xmlNode* node, const char* name)
{
  for (const xmlAttr* each = node->properties; each; each = each->next) {
    if (!strcmp((const char*)each->name, name)) {
      return (const char*)each->children->content;
    }
  }
  fail_msg("<%s> has no %s", (const char*)node->name, name);
  return "";
}

static inline const xmlNode* find_property(const xmlNode* node, const char* key)
{
  const xmlNode* found = child(node, "properties")->children;
  while (found && strcmp(text_in(found, "key"), key) != 0) {
    found = found->next;
  }
  return found;
}

static inline const char* name_of(const xmlNode* node)
{
  return text_in(find_property(node, "name"), "value");
}

static inline xmlDoc* read_touchosc(unsigned instance)
{
  char* const xml = write_touchosc_xml(instance);
  xmlDoc* const document = xmlReadMemory(xml, (int)strlen(xml), "layout", NULL, XML_PARSE_NONET);
  free(xml);
  assert_non_null(document);
  return document;
}

static inline const xmlNode* root_node(const xmlDoc* document)
{
  const xmlNode* const root = xmlDocGetRootElement((xmlDoc*)document);
  assert_true(is(root, "lexml"));
  assert_string_equal(attribute(root, "version"), "6");
  assert_ptr_equal(root->children, root->last);
  return root->children;
}

enum { NODES_MAX = 256 };

/** Nodes of a layout for TouchOSC: the root, then each before those in it. */
typedef struct {
  const xmlNode* nodes[NODES_MAX];
  size_t count;
} Nodes;

static inline void collect_nodes(const xmlNode* node, Nodes* nodes)
{
  const xmlNode* const children = child(node, "children");
  assert_true(nodes->count < NODES_MAX);
  nodes->nodes[nodes->count++] = node;
  for (const xmlNode* each = children ? children->children : NULL; each; each = each->next) {
    collect_nodes(each, nodes);
  }
}

#endif
