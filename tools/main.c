/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file main.c
 * halfremembered, the command-line program: options and commands. */

#include "osc/packet.h"
#include "osc/table.h"
#include "osc/text.h"
#include "tools/ask.h"
#include "tools/copy.h"
#include "tools/layout.h"
#include "tools/show.h"
#include "tools/smf.h"
#include "tools/tool.h"
#include "tools/verbs.h"

#include <getopt.h>
#include <limits.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef HR_VERSION
#define HR_VERSION "0.1.0"
#endif

typedef struct {
  const char* name;
  const char* arguments;
  size_t least, most; ///< Arguments it takes
  int (*run)(const HrTool* tool, char* const* args, size_t count);
  const char* summary;
} Command;

static int run_tree(const HrTool* tool, char* const* args, size_t count)
{
  (void)args;
  (void)count;
  return hr_show_tree(tool);
}

static int run_log(const HrTool* tool, char* const* args, size_t count)
{
  (void)args;
  (void)count;
  return hr_show_log(tool);
}

static int run_export(const HrTool* tool, char* const* args, size_t count)
{
  (void)count;
  return hr_smf_export(tool, args[0], args[1]);
}

static int run_import(const HrTool* tool, char* const* args, size_t count)
{
  return hr_smf_import(tool, args[0], count > 1 ? args[1] : NULL);
}

static int run_verify(const HrTool* tool, char* const* args, size_t count)
{
  (void)args;
  (void)count;
  return hr_show_verify(tool);
}

static int run_backup(const HrTool* tool, char* const* args, size_t count)
{
  (void)count;
  return hr_copy_backup(tool, args[0]);
}

static int run_compact(const HrTool* tool, char* const* args, size_t count)
{
  (void)count;
  return hr_copy_compact(tool, args[0]);
}

static int run_salvage(const HrTool* tool, char* const* args, size_t count)
{
  (void)tool;
  (void)count;
  return hr_show_salvage(args[0], args[1]);
}

static int run_osc_doc(const HrTool* tool, char* const* args, size_t count)
{
  (void)tool;
  (void)args;
  (void)count;
  return hr_osc_write_documentation(stdout) ? HR_EXIT_FAILURE : HR_EXIT_OK; // Said in the end
}

static int run_osc_layout(const HrTool* tool, char* const* args, size_t count)
{
  (void)tool;
  char* end = NULL;
  const unsigned long instance = count > 1 ? strtoul(args[1], &end, 10) : 1;
  if (end && (*end || !instance || instance > UINT16_MAX)) {
    hr_tool_complain("\"%s\" is no number of an instance: take 1, or what /hr/instances tells.",
                     args[1]);
    return HR_EXIT_USAGE;
  }
  HrError error = {HR_OK, ""};
  if (hr_layout_write(args[0], (unsigned)instance, stdout, &error)) {
    hr_tool_complain("%s", error.text);
    return error.status == HR_ERR_ARGUMENT ? HR_EXIT_USAGE : HR_EXIT_FAILURE;
  }
  return HR_EXIT_OK;
}

static int run_osc(const HrTool* tool, char* const* args, size_t count)
{
  (void)tool;
  return hr_ask(args, count);
}

static int run_help(const HrTool* tool, char* const* args, size_t count);

static const Command commands[] = {
    {"tree", "", 0, 0, run_tree, "Show the branches: forks, heads, lengths, events"},
    {"log", "", 0, 0, run_log, "Show what was done to them, newest last"},
    {"export", "BRANCH FILE.mid", 2, 2, run_export,
     "Write a branch, from its beginning, to a file"},
    {"import", "FILE.mid [NAME]", 1, 2, run_import, "Read a MIDI file into a new branch"},
    {"verify", "", 0, 0, run_verify, "Check the whole store for damage"},
    {"backup", "FILE", 1, 1, run_backup, "Copy what is new into a backup, also while you play"},
    {"compact", "FILE", 1, 1, run_compact, "Write a copy without free pages"},
    {"salvage", "DAMAGED NEW", 2, 2, run_salvage, "Take all that is readable into a new store"},
    {"osc", "[URL] ADDRESS [ARG]...", 1, HR_OSC_ARGUMENTS_MAX + 2, run_osc,
     "Ask a running plugin, and show its answer"},
    {"osc-doc", "", 0, 0, run_osc_doc, "Print the reference of the OSC interface"},
    {"osc-layout", "KIND [INSTANCE]", 1, 2, run_osc_layout, "Print a controller: " HR_LAYOUT_KINDS},
    {"help", "", 0, HR_COMMAND_ARGS_MAX, run_help, "Show this"},
};

enum { COMMAND_COUNT = sizeof commands / sizeof *commands };

static int run_help(const HrTool* tool, char* const* args, size_t count)
{
  (void)tool;
  (void)args;
  (void)count;
  printf("Usage: halfremembered [OPTION]... COMMAND [ARGUMENT]...\n"
         "Look at what you played, take it out and bring it in.\n\n"
         "Options:\n"
         "  -s, --store PATH   The store (default: $HR_STORE, else your own)\n"
         "  -t, --tree NAME    The tree, by name or number (default: $HR_TREE)\n"
         "  -f, --force        Let export or compact replace a file\n"
         "  -p, --ppq N        Resolution of an exported file (default %d)\n"
         "  -h, --help         Show this\n"
         "  -V, --version      Show the version\n\n"
         "Commands:\n",
         HR_SMF_RESOLUTION);
  for (size_t i = 0; i < COMMAND_COUNT; ++i) {
    char usage[80];
    snprintf(usage, sizeof usage, "%s %s", commands[i].name, commands[i].arguments);
    printf("  %-24s %s\n", usage, commands[i].summary);
  }
  hr_verbs_print_help(stdout);
  printf("\nA BRANCH is a name or a number. Put -- before words that begin with a minus sign.\n"
         "More: man halfremembered\n");
  return HR_EXIT_OK;
}

static const Command* find_command(const char* name)
{
  for (size_t i = 0; i < COMMAND_COUNT; ++i) {
    if (!strcmp(commands[i].name, name)) {
      return &commands[i];
    }
  }
  return NULL;
}

static int unknown_command(const char* name)
{
  enum { TOO_FAR = 3 };
  const char* nearest = hr_verbs_nearest(name);
  size_t least = nearest ? hr_osc_text_distance(name, nearest, TOO_FAR) : TOO_FAR;
  for (size_t i = 0; i < COMMAND_COUNT; ++i) {
    const size_t distance = hr_osc_text_distance(name, commands[i].name, TOO_FAR);
    if (distance < least) {
      least = distance;
      nearest = commands[i].name;
    }
  }
  if (hr_verbs_needs_host(name)) {
    hr_tool_complain("\"%s\" needs the plugin in a running host: \"halfremembered osc /hr/1/%s\" "
                     "sends it there.",
                     name, name);
  } else if (nearest) {
    hr_tool_complain("There is no command \"%s\": did you mean \"%s\"?", name, nearest);
  } else {
    hr_tool_complain("There is no command \"%s\": \"halfremembered help\" lists them.", name);
  }
  return HR_EXIT_USAGE;
}

static int run(const HrTool* tool, const char* name, char* const* args, size_t count)
{
  const Command* const command = find_command(name);
  const HrCommandInfo* const verb = command ? NULL : hr_verbs_find(name);
  if (verb) {
    return hr_verbs_run(tool, verb, args, count);
  }
  if (!command) {
    return unknown_command(name);
  }
  if (count < command->least || count > command->most) {
    hr_tool_complain("Usage: halfremembered %s%s%s", name, command->most ? " " : "",
                     command->most ? command->arguments
                                   : "; a tree is named by --tree, a store by --store");
    return HR_EXIT_USAGE;
  }
  return command->run(tool, args, count);
}

enum { WORD = 1 };

static bool is_negative(const char* text)
{
  char* end = NULL;
  const double number = strtod(text, &end);
  return number <= 0.0 && *text == '-' && end > text && !*end;
}

/** As getopt_long(), but that words come one by one, and that a negative number is one. */
static int next_option(int argc, char** argv, const struct option* options)
{
  char* const next = optind < argc ? argv[optind] : NULL;
  if (next && is_negative(next)) {
    optarg = next;
    ++optind;
    return WORD;
  }
  return getopt_long(argc, argv, "-s:t:fp:hV", options, NULL);
}

/** Read the options; `*store` is room for the default path. Returns -1 to go
 * on with `count` words from argv[1] on, or an exit status. */
static int read_options(int argc, char** argv, HrTool* tool, char store[PATH_MAX], size_t* count)
{
  static const struct option options[] = {
      {"store", required_argument, NULL, 's'},
      {"tree", required_argument, NULL, 't'},
      {"force", no_argument, NULL, 'f'},
      {"ppq", required_argument, NULL, 'p'},
      {"help", no_argument, NULL, 'h'},
      {"version", no_argument, NULL, 'V'},
      {NULL, 0, NULL, 0},
  };
  const char* const tree = getenv("HR_TREE");
  char* end = NULL;
  int option;
  *tool = (HrTool){.tree = tree && *tree ? tree : NULL, .ppq = HR_SMF_RESOLUTION};
  int words = 1;
  while ((option = next_option(argc, argv, options)) != -1) {
    switch (option) {
    case WORD:
      argv[words++] = optarg;
      break;
    case 's':
      tool->store = optarg;
      break;
    case 't':
      tool->tree = optarg;
      break;
    case 'f':
      tool->force = true;
      break;
    case 'p':
      tool->ppq = strlen(optarg) <= 5 ? (uint32_t)strtoul(optarg, &end, 10) : 0;
      if (!tool->ppq || *end || !hr_smf_resolution_valid(tool->ppq)) {
        hr_tool_complain("\"%s\" is no resolution to export at: take one like 480, 960, 3840 or "
                         "15360, which divides %d and is below 32768.",
                         optarg, HR_TICKS_PER_QUARTER);
        return HR_EXIT_USAGE;
      }
      break;
    case 'h':
      return run_help(tool, NULL, 0);
    case 'V':
      printf("halfremembered %s\n", HR_VERSION);
      return HR_EXIT_OK;
    default:
      fputs("Try \"halfremembered --help\".\n", stderr);
      return HR_EXIT_USAGE;
    }
  }
  memmove(argv + words, argv + optind, (size_t)(argc - optind) * sizeof *argv);
  *count = (size_t)(words - 1 + argc - optind);
  if (!tool->store && !hr_store_default_path(store, PATH_MAX)) {
    tool->store = store;
  }
  return -1;
}

int main(int argc, char** argv)
{
  static char store[PATH_MAX];
  HrTool tool;
  /* Not LC_NUMERIC: numbers are typed and printed the same everywhere. */
  setlocale(LC_CTYPE, "");
  size_t count = 0;
  int result = read_options(argc, argv, &tool, store, &count);
  if (result < 0 && !count) {
    fputs("Usage: halfremembered [OPTION]... COMMAND [ARGUMENT]...\n"
          "Try \"halfremembered --help\".\n",
          stderr);
    return HR_EXIT_USAGE;
  }
  if (result < 0) {
    result = run(&tool, argv[1], argv + 2, count - 1);
  }
  if (fflush(stdout) || ferror(stdout)) {
    hr_tool_complain("The output could not be written: %m.");
    return result ? result : HR_EXIT_FAILURE;
  }
  return result;
}
