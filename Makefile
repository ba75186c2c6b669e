# Copyright 2026 The HalfRemembered authors
# SPDX-License-Identifier: ISC

CC       ?= cc
BUILD    ?= build
PREFIX   ?= /usr/local
OPTIMISE ?= -O2 -g
PKG_CONFIG ?= pkg-config

WARNINGS := -Wall -Wextra -Wconversion -Wshadow -Werror
STORE_PKGS  := lmdb libxxhash
PLUGIN_PKGS := lv2 liblo $(STORE_PKGS)
TOOL_PKGS   := smf
TEST_PKGS   := cmocka lilv-0

ALL_CFLAGS := -std=c11 -D_GNU_SOURCE -I. -fPIC -fvisibility=hidden -pthread $(OPTIMISE) $(WARNINGS) $(CFLAGS)

STORE_SRC  := $(wildcard store/*.c)
PLUGIN_SRC := $(wildcard plugin/*.c)
OSC_SRC    := $(wildcard osc/*.c)

obj = $(patsubst %.c,$(BUILD)/%.o,$(1))

STORE_OBJ  := $(call obj,$(STORE_SRC))
PLUGIN_OBJ := $(call obj,$(PLUGIN_SRC))
OSC_OBJ    := $(call obj,$(OSC_SRC))

TESTS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/test_*.c))

all: $(STORE_OBJ) $(PLUGIN_OBJ) $(OSC_OBJ)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(shell $(PKG_CONFIG) --cflags $(PLUGIN_PKGS) $(TOOL_PKGS) $(TEST_PKGS)) -MMD -MP -c -o $@ $<

$(BUILD)/tests/test_%: $(BUILD)/tests/test_%.o $(STORE_OBJ) $(PLUGIN_OBJ) $(OSC_OBJ)
	$(CC) -pthread $(OPTIMISE) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(shell $(PKG_CONFIG) --libs $(PLUGIN_PKGS) $(TEST_PKGS)) -lm

tests: $(TESTS)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

.PHONY: all tests
