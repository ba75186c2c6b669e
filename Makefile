# Copyright 2026 The HalfRemembered authors
# SPDX-License-Identifier: ISC

# `make help` lists what can be made. Nothing is written outside $(BUILD) but by
# `install`, `uninstall` and `format`; another build is another folder:
#   make BUILD=build/mine CC=clang CFLAGS=-O3

VERSION := 0.1.0

BUILD      ?= build
PREFIX     ?= /usr/local
LV2DIR     ?= $(PREFIX)/lib/lv2
BINDIR     ?= $(PREFIX)/bin
MANDIR     ?= $(PREFIX)/share/man
PKG_CONFIG ?= pkg-config
# Runs what was built for another machine: qemu-aarch64 -L SYSROOT
EMULATOR   ?=
OPTIMISE   ?= -O2 -g
CARGO      ?= /usr/bin/cargo
RUSTC      ?= /usr/bin/rustc
WARNINGS   ?= -Wall -Wextra -Wconversion -Wshadow -Werror

# What happens to one event is spread over small functions of several files: inlined
# across them, a block costs a third less (bench/bench_run.c). Tests and tool are
# linked without. clang would need a linker of its own for it.
FAST := -O3 -fno-math-errno
FAST += $(if $(findstring clang,$(CC)),,-flto=auto -ffat-lto-objects \
          --param max-inline-insns-auto=100 --param inline-unit-growth=200)

# Set by the sanitizer builds, for compiler and linker alike.
SANITIZE ?=

BUNDLE := $(BUILD)/halfremembered.lv2
PLUGIN := $(BUNDLE)/halfremembered.so
TOOL   := $(BUILD)/halfremembered

TTL := $(patsubst ttl/%,$(BUNDLE)/%,$(wildcard ttl/*.ttl))

# Controllers ready to use, made by the tool.
LAYOUTS := $(addprefix $(BUNDLE)/halfremembered.,tosc json pd)

# And how a program does the same.
EXAMPLES := $(addprefix $(BUNDLE)/,osc.sh halfremembered.scd)

# ---- Sources -----------------------------------------------------------------

objects = $(patsubst %.c,$(BUILD)/%.o,$(wildcard $(1)))

CORE_OBJ    := $(call objects,store/*.c plugin/*.c osc/*.c)
TOOL_OBJ    := $(call objects,tools/*.c)
LAYOUT_OBJ  := $(call objects,tools/layout*.c)
HOST_OBJ    := $(call objects,tests/host/lv2_*.c tests/host/events.c)
TESTS       := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/test_*.c))
BENCHES     := $(patsubst %.c,$(BUILD)/%,$(wildcard bench/bench_*.c))
MAKE_STORE  := $(BUILD)/bench/make_store
# Those whose figures docs/infinite-canvas-storage.md tells, in the order in which they are run.
PAPER_BENCHES := $(addprefix $(BUILD)/bench/bench_,store scale map layouts engines travel disk)
SCALE_OBJ   := $(call objects,bench/scale_*.c)
TRAVEL_OBJ  := $(call objects,bench/travel_*.c)
PEERS_OBJ   := $(BUILD)/bench/peers.o
ENGINES_OBJ := $(addprefix $(BUILD)/bench/,engines.o keepers.o syncs.o)
BENCH_OBJ   := $(addprefix $(BUILD)/bench/,bench.o disk.o lv2_plugin.o store_maker.o)
FUZZERS     := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/fuzz/fuzz_*.c))
EVENT_TOOLS := $(addprefix $(BUILD)/tests/host/,jack_midi midi_events wav_events)
MAKE_MUSIC  := $(BUILD)/tests/music/make_music
PAPER_TOOLS := $(addprefix $(BUILD)/tests/paper/,play list)

# The layouts that bench_layouts compares, in C, C++ and Rust.
BYTES     := $(BUILD)/bench/layouts
BYTES_OBJ := $(call objects,bench/layouts/*.c) $(BYTES)/flatbuffers.o $(BYTES)/capnproto.o $(BYTES)/rkyv.a

C_FILES := $(wildcard $(addsuffix /*.[ch],store plugin osc tools tests tests/* bench bench/*)) $(wildcard bench/layouts/*.cc)

# ---- Flags -------------------------------------------------------------------

# pkg-config is asked only when a recipe runs: `setup` may have to install it first.
# Warnings are for our code: other people's headers are system headers.
packages  = $(patsubst -I%,-isystem %,$(shell $(PKG_CONFIG) $(1)))
# A goal may use what tools/install-deps.sh installs for it, no more: tests/bundle.sh looks.
CORE_PKGS  = lmdb libxxhash liblo avahi-client
TOOL_PKGS  = $(CORE_PKGS) smf zlib
BENCH_PKGS = $(TOOL_PKGS) lilv-0
EVENT_PKGS = jack smf
TEST_PKGS  = $(BENCH_PKGS) cmocka libxml-2.0 json-c lua5.1

ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -DHR_VERSION='"$(VERSION)"' -I. -fPIC -fvisibility=hidden \
             -pthread $(OPTIMISE) $(WARNINGS) $(SANITIZE) $(CPPFLAGS) $(CFLAGS) \
             $(call packages,--cflags lv2 $(PKGS))
# Left to itself, gcc would put every test through the link-time optimiser; told both ways,
# it does not, whatever comes last.
LINK       = $(CC) -pthread $(if $(findstring -flto,$(OPTIMISE)),,-fno-lto) $(OPTIMISE) $(SANITIZE) $(CFLAGS) $(LDFLAGS)

# The plugin is never unloaded (nodelete): a thread of its own may be on its way out.
SHARED := -shared -Wl,-z,nodelete -Wl,-z,now -Wl,-z,relro
# clang's sanitizers leave their own symbols to the program.
SHARED += $(if $(SANITIZE),,-Wl,--no-undefined)

# Not where OPTIMISE is given, as by the sanitizer builds.
$(CORE_OBJ): OPTIMISE += $(FAST)
$(PLUGIN): private OPTIMISE += $(FAST)

# What each folder's sources include beyond LV2.
$(BUILD)/store/%.o $(BUILD)/plugin/%.o $(BUILD)/osc/%.o: PKGS = $(CORE_PKGS)
$(BUILD)/tools/%.o: PKGS = $(TOOL_PKGS)
$(BUILD)/tests/%.o: PKGS = $(TEST_PKGS)
$(BUILD)/tests/%.o: CPPFLAGS += -DHR_TEST_BUNDLE='"$(abspath $(BUNDLE))/"'
$(BUILD)/tests/%.o: CPPFLAGS += -DHR_TEST_DATA='"$(abspath tests/data)/"'
$(BUILD)/tests/host/%.o: PKGS =
$(BUILD)/tests/host/lv2_%.o: PKGS = lilv-0
$(addsuffix .o,$(EVENT_TOOLS)): PKGS = $(EVENT_PKGS)
$(MAKE_MUSIC).o: PKGS = smf
$(BUILD)/bench/%.o: PKGS = $(BENCH_PKGS) $(PEERS)
$(BUILD)/bench/bench_scale $(SCALE_OBJ): PEERS = sqlite3 rocksdb libgit2
$(BUILD)/bench/bench_store $(PEERS_OBJ) $(BUILD)/bench/bench_engines $(ENGINES_OBJ): PEERS = sqlite3 rocksdb
# It has no pkg-config file.
$(BUILD)/bench/bench_engines: private LDLIBS += -lleveldb
$(BUILD)/bench/bench_travel $(TRAVEL_OBJ): PEERS = libgit2
$(BUILD)/bench/bench_layouts $(BYTES_OBJ): PEERS = capnp
$(BUILD)/bench/bench_layouts: private LDLIBS += -lstdc++
# All layouts alike, in whatever language.
$(BYTES_OBJ): OPTIMISE += -O3
# The store as the plugin has it.
$(BENCHES) $(MAKE_STORE): private OPTIMISE += $(FAST)
$(BUILD)/bench/%.o: CPPFLAGS += -DHR_TEST_BUNDLE='"$(abspath $(BUNDLE))/"'
$(BUILD)/bench/bench_travel.o: CPPFLAGS += -DHR_TEST_DATA='"$(abspath tests/data)/"'

# What is being made is said in a word; V=1 shows the commands.
Q   := $(if $(V),,@)
say  = $(if $(V),,@printf '%-8s %s\n' $(1) $(2))

# ---- Building ----------------------------------------------------------------

all: $(PLUGIN) $(TTL) $(TOOL) $(LAYOUTS) $(EXAMPLES) ## Plugin bundle, tool and controllers (the default)

# These goals see to the packages they need before anything is compiled, and use
# every processor.
ifneq ($(filter bench paper-figures check% demo fuzz run soak lint,$(MAKECMDGOALS)),)
READY     := setup
MAKEFLAGS += --jobs=$(shell nproc)
else
READY     := packages-found
endif
SETUP := $(if $(filter demo run,$(MAKECMDGOALS)),demo,$(if $(filter bench paper-figures,$(MAKECMDGOALS)),bench,check))

$(BUILD)/%.o: %.c | $(READY)
	@mkdir -p $(@D)
	$(call say,compile,$<)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(PLUGIN): $(CORE_OBJ)
	@mkdir -p $(@D)
	$(call say,link,$@)
	$(Q)$(LINK) $(SHARED) -o $@ $^ $(call packages,--libs $(CORE_PKGS)) -lm

$(TTL): $(BUNDLE)/%: ttl/%
	@mkdir -p $(@D)
	$(call say,copy,$@)
	$(Q)cp $< $@

$(EXAMPLES): $(BUNDLE)/%: examples/%
	@mkdir -p $(@D)
	$(call say,copy,$@)
	$(Q)cp $< $@

$(TOOL): $(TOOL_OBJ) $(CORE_OBJ)
	$(call say,link,$@)
	$(Q)$(LINK) -o $@ $^ $(call packages,--libs $(TOOL_PKGS)) -lm

$(filter $(BUILD)/tests/test_osc% $(BUILD)/tests/test_zeroconf,$(TESTS)): $(BUILD)/tests/osc_client.o

$(BUNDLE)/halfremembered.tosc: KIND = touchosc
$(BUNDLE)/halfremembered.json: KIND = open-stage-control
$(BUNDLE)/halfremembered.pd: KIND = pure-data
$(LAYOUTS): $(TOOL)
	@mkdir -p $(@D)
	$(call say,make,$@)
	$(Q)$(EMULATOR) $(TOOL) osc-layout $(KIND) >$@.new && mv $@.new $@

layouts: $(LAYOUTS) ## The controllers alone: TouchOSC, Open Stage Control, Pure Data

pictures: $(TOOL) ## Draw the controllers anew for the manual
	@mkdir -p docs/controllers
	$(TOOL) osc-layout picture >docs/controllers/page.svg
	$(TOOL) osc-layout patch-picture >docs/controllers/patch.svg

paper-figures: $(PAPER_BENCHES) ## Measure all that the paper tells, and write its tables and pictures anew
	@rm -rf docs/data && mkdir docs/data
	@HR_BENCH_DATA=docs/data $(BUILD)/bench/bench_scale seek
	@for bench in $(PAPER_BENCHES); do \
	  HR_BENCH_DATA=docs/data HR_SCALE=full HR_BENCH_SECONDS=600 HR_ENGINES_MB=512 $$bench || exit; done
	@sort -u -o docs/data/machine.tsv docs/data/machine.tsv
	@$(MAKE) --no-print-directory paper-pictures

paper-pictures: ## Write the paper's tables and pictures from what was measured (docs/data)
	/usr/bin/python3 docs/figures.py docs/infinite-canvas-storage.md

$(BUILD)/tests/test_%: $(BUILD)/tests/test_%.o $(HOST_OBJ) $(CORE_OBJ)
	$(call say,link,$@)
	$(Q)$(LINK) -o $@ $^ $(call packages,--libs $(TEST_PKGS)) -lm -ldl

$(BUILD)/tests/test_layouts $(BUILD)/tests/test_tablet: $(LAYOUT_OBJ)
$(BUILD)/tests/test_power_loss: $(BUILD)/tests/disk_trace.o

$(BUILD)/bench/bench_scale: $(SCALE_OBJ)
$(BUILD)/bench/bench_map: $(BUILD)/bench/scale_cold.o
$(BUILD)/bench/bench_store: $(PEERS_OBJ)
$(BUILD)/bench/bench_layouts: $(BYTES_OBJ)
$(BUILD)/bench/bench_engines: $(ENGINES_OBJ) $(BUILD)/bench/scale_cold.o
$(BUILD)/bench/bench_travel: $(TRAVEL_OBJ)

$(BENCHES) $(MAKE_STORE): %: %.o $(BENCH_OBJ) $(HOST_OBJ) $(CORE_OBJ)
	$(call say,link,$@)
	$(Q)$(LINK) -o $@ $^ $(call packages,--libs $(BENCH_PKGS) $(PEERS)) $(LDLIBS) -lm -ldl

# The layouts of other languages' libraries.
$(BYTES)/%.o: bench/layouts/%.cc | $(READY)
	@mkdir -p $(@D)
	$(call say,compile,$<)
	$(Q)$(CXX) $(subst -std=c11,-std=c++17,$(ALL_CFLAGS)) -isystem $(@D) -MMD -MP -c -o $@ $<

$(BYTES)/flatbuffers.o: $(BYTES)/node_generated.h
$(BYTES)/node_generated.h: bench/layouts/node.fbs | $(READY)
	@mkdir -p $(@D)
	$(call say,make,$@)
	$(Q)flatc --cpp -o $(@D) $<

$(BYTES)/capnproto.o: $(BYTES)/node.capnp.h
$(BYTES)/node.capnp.h: bench/layouts/node.capnp | $(READY)
	@mkdir -p $(@D)
	$(call say,make,$@)
	$(Q)capnp compile --src-prefix=$(<D) -oc++:$(@D) $<

# Debian's compiler and Debian's crates: nothing is fetched.
$(BYTES)/rkyv.a: $(wildcard bench/layouts/rkyv/*) | $(READY)
	@mkdir -p $(@D)/rkyv
	$(call say,compile,bench/layouts/rkyv)
	@command -v $(CARGO) >/dev/null && command -v $(RUSTC) >/dev/null || \
	  { echo 'No Rust here: tools/install-deps.sh bench installs it' >&2; exit 1; }
	$(Q)cp $^ $(@D)/rkyv
	$(Q)cd $(@D)/rkyv && RUSTC=$(RUSTC) $(CARGO) build --quiet --release --offline \
	  --config 'source.crates-io.replace-with="debian"' \
	  --config 'source.debian.directory="/usr/share/cargo/registry"'
	$(Q)cp $(@D)/rkyv/target/release/liblayout_rkyv.a $@

# Made by build-asan and build-fuzz only: libFuzzer is clang's.
$(FUZZERS): %: %.o $(CORE_OBJ)
	$(call say,link,$@)
	$(Q)$(LINK) -fsanitize=fuzzer -o $@ $^ $(call packages,--libs $(CORE_PKGS)) -lm

$(BUILD)/tests/fuzz/fuzz_midi: $(BUILD)/tools/midi_file.o

$(EVENT_TOOLS): %: %.o $(BUILD)/tests/host/events.o
	$(call say,link,$@)
	$(Q)$(LINK) -o $@ $^ $(call packages,--libs $(EVENT_PKGS)) -lm

$(MAKE_MUSIC): $(MAKE_MUSIC).o
	$(call say,link,$@)
	$(Q)$(LINK) -o $@ $^ $(call packages,--libs smf)

$(PAPER_TOOLS): %: %.o $(HOST_OBJ) $(CORE_OBJ)
	$(call say,link,$@)
	$(Q)$(LINK) -o $@ $^ $(call packages,--libs $(TEST_PKGS)) -lm -ldl

# The C of the paper, as tests/paper.sh finds it there.
$(BUILD)/paper/examples: $(BUILD)/paper/examples.c tests/paper/prelude.h $(CORE_OBJ)
	$(call say,compile,$<)
	$(Q)$(CC) $(ALL_CFLAGS) -fno-lto -Wno-unused-function -include tests/paper/prelude.h -o $@ $< $(CORE_OBJ) \
	  $(call packages,--libs $(CORE_PKGS)) -lm

# Keep objects that make takes for intermediate.
.SECONDARY:

-include $(wildcard $(addsuffix /*.d,$(addprefix $(BUILD)/,store plugin osc tools tests tests/fuzz tests/host tests/music tests/paper bench bench/layouts)))

# Another build is this Makefile once more, with its own folder and flags.
SANITIZER := CC=clang OPTIMISE='-O1 -g -fno-omit-frame-pointer'
ASAN := -fsanitize=address,undefined -fno-sanitize-recover=all
TSAN := -fsanitize=thread

build-clang: | $(READY)
	@echo 'build with clang'
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/clang CC=clang all tests

build-asan: | $(READY)
	@echo 'build with address and undefined-behaviour sanitizers'
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/asan $(SANITIZER) SANITIZE='$(ASAN)' all tests

# What is fuzzed tells the fuzzer which ways it took.
build-fuzz: | $(READY)
	@echo 'build the fuzzers with clang'
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/fuzzers $(SANITIZER) \
	  SANITIZE='$(ASAN) -fsanitize=fuzzer-no-link' fuzzers

fuzzers: $(FUZZERS)

build-tsan: | $(READY)
	@echo 'build with the thread sanitizer'
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/tsan $(SANITIZER) SANITIZE='$(TSAN)' all tests

# ---- Using -------------------------------------------------------------------

demo: all $(EVENT_TOOLS) ## Play, fork, replay, kill and find every note again, in jalv on a dummy JACK server
	@tests/host/demo.sh $(BUILD)

run: all ## Start the plugin in jalv, for you to play
	@tools/run.sh $(BUILD)

# Better said once than by every compiler.
packages-found:
	@$(PKG_CONFIG) --exists lv2 $(TOOL_PKGS) 2>/dev/null || \
	  { echo 'Packages are missing: `make setup` installs them.' >&2; exit 1; }

setup: ## Install the Debian packages needed (HR_NO_INSTALL=1: only list them)
	@tools/install-deps.sh $(SETUP)

# ---- Testing -----------------------------------------------------------------

tests: $(TESTS) $(EVENT_TOOLS) $(MAKE_MUSIC) $(PAPER_TOOLS) ## Compile the tests

check: all tests build-clang build-asan build-tsan build-fuzz ## Run every test
	@tests/run.sh $(BUILD)

check-unit: all tests ## Run the unit tests only
	tests/run.sh $(BUILD) unit

check-asan: build-asan ## Run the unit tests under address and undefined-behaviour sanitizers
	tests/run.sh $(BUILD) asan

check-tsan: build-tsan ## Run the unit tests under the thread sanitizer
	tests/run.sh $(BUILD) tsan

check-hosts: all tests ## Run the plugin in jalv and Ardour
	tests/run.sh $(BUILD) hosts

lint: | $(READY) ## Check formatting, licence headers, shell scripts; clang-tidy
	tests/lint.sh $(BUILD)

fuzz: build-fuzz ## Fuzz the opening of stores, the reading of nodes, MIDI files and OSC, FUZZ_SECONDS (60) each
	tests/fuzz/fuzz.sh $(BUILD)/fuzzers $(or $(FUZZ_SECONDS),60)

soak: all tests build-fuzz ## Fuzz OSC and flood it; repeat the demo, killing at random moments, and new random cases, for SOAK_SECONDS (600)
	tests/soak.sh $(BUILD)

bench: all $(BENCHES) $(MAKE_STORE) ## Run the benchmarks, side by side with peers
	@for bench in $(BENCHES); do $$bench || exit; done

format: ## Format the C sources in place
	clang-format -i $(C_FILES)

# ---- Installing --------------------------------------------------------------

INSTALLED := $(LV2DIR)/halfremembered.lv2 $(BINDIR) $(MANDIR)/man1

# Where hosts look, unless LV2_PATH says otherwise.
SEARCHED := ~/.lv2 $(HOME)/.lv2 /usr/lib/lv2 /usr/local/lib/lv2
FOUND = $(if $(filter $(LV2DIR),$(SEARCHED)),Look for it among the MIDI plugins of your host.,\
          A host finds it if its LV2_PATH names $(LV2DIR).)

install: all ## Install below DESTDIR; PREFIX, LV2DIR, BINDIR, MANDIR may be set
	@install -d $(addprefix $(DESTDIR),$(INSTALLED)) 2>/dev/null && \
	  for folder in $(addprefix $(DESTDIR),$(INSTALLED)); do [ -w $$folder ] || exit; done || \
	  { echo 'Only root may write to $(DESTDIR)$(PREFIX): sudo make install. Or for yourself alone:' >&2; \
	    echo 'make install PREFIX=~/.local LV2DIR=~/.lv2' >&2; exit 1; }
	$(call say,install,$(DESTDIR)$(LV2DIR)/halfremembered.lv2)
	$(Q)install -m 644 $(PLUGIN) $(TTL) $(LAYOUTS) $(EXAMPLES) $(DESTDIR)$(LV2DIR)/halfremembered.lv2
	$(call say,install,$(DESTDIR)$(BINDIR)/halfremembered)
	$(Q)install -m 755 $(TOOL) $(DESTDIR)$(BINDIR)
	$(call say,install,$(DESTDIR)$(MANDIR)/man1/halfremembered.1)
	$(Q)install -m 644 man/halfremembered.1 $(DESTDIR)$(MANDIR)/man1
	@$(if $(DESTDIR),,echo 'HalfRemembered is installed. $(strip $(FOUND))')

uninstall: ## Remove what `install` put there; never a store
	$(call say,remove,$(DESTDIR)$(LV2DIR)/halfremembered.lv2)
	$(Q)rm -rf $(DESTDIR)$(LV2DIR)/halfremembered.lv2
	$(call say,remove,$(DESTDIR)$(BINDIR)/halfremembered)
	$(call say,remove,$(DESTDIR)$(MANDIR)/man1/halfremembered.1)
	$(Q)rm -f $(DESTDIR)$(BINDIR)/halfremembered $(DESTDIR)$(MANDIR)/man1/halfremembered.1

clean: ## Remove $(BUILD)
	rm -rf $(BUILD)

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

.PHONY: all layouts pictures paper-figures paper-pictures tests fuzz fuzzers build-fuzz build-clang build-asan build-tsan demo run setup packages-found check check-unit check-asan \
        check-tsan check-hosts lint soak bench format install uninstall clean help
