/* main.c -- the program `mien`: finds the subcommand and calls it. */
#include "cli.h"

#include <string.h>

static const cli_command *const commands[] = {&cli_convert,         &cli_run, &cli_info,   &cli_check, &cli_bench,
                                              &cli_profile_command, &cli_ops, &cli_passes, NULL};

static void print_help(FILE *file) {
  fprintf(file,
          "mien %s: runs exported neural networks (ONNX) on a CPU\n\n"
          "usage: mien COMMAND ... [--help]\n\ncommands\n",
          mien_version());
  for (const cli_command *const *c = commands; *c; c++) fprintf(file, "  %-9s %s\n", (*c)->name, (*c)->summary);
  fprintf(file,
          "\nA first walk\n"
          "  mien convert model.onnx -o model.plan     an ONNX file becomes a plan, verified by a run\n"
          "  mien info model.plan                      its inputs, outputs and operators\n"
          "  mien run model.plan --input image=me.jpg  the answer\n"
          "  mien check model.plan                     the recorded results, on this machine\n"
          "  mien profile model.plan                   where the time goes\n\n"
          "Results go to stdout, everything else to stderr; --json gives one JSON object.\n"
          "Exit status: 0 good, 1 failed or mismatch, 2 wrong usage.\n"
          "Environment: MIEN_PLUGIN_PATH directories with plugins, separated by ':'\n"
          "             MIEN_ISA         these kernels instead of the best: portable, avx2, avx512, avx512_bf16;\n"
          "                              on ARM portable, neon\n");
}

static bool wants_help(int argc, char **argv) {
  for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
    if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return true;
  return false;
}

int main(int argc, char **argv) {
  if (argc < 2) {
    print_help(stderr);
    return CLI_USAGE;
  }
  const char *name = argv[1];
  if (strcmp(name, "--version") == 0 || strcmp(name, "version") == 0) {
    printf("mien %s\n", mien_version());
    return cli_finish("mien");
  }
  bool help = strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0;
  if (help && argc > 2)
    name = argv[2];
  else if (help) {
    print_help(stdout);
    return cli_finish("mien");
  }
  for (const cli_command *const *c = commands; *c; c++) {
    if (strcmp((*c)->name, name) != 0) continue;
    if (help || wants_help(argc - 1, argv + 1)) {
      fputs((*c)->usage, stdout);
      return cli_finish(name);
    }
    return (*c)->run(argc - 1, argv + 1);
  }
  fprintf(stderr, "mien: unknown command '%s'; `mien --help` lists them\n", name);
  return CLI_USAGE;
}
