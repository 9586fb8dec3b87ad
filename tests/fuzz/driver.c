/* A main for a fuzz target: runs files, and changed copies of them.
**   fuzz_TARGET [--mutate N] [--seed S] [--seconds T] [--slow T] FILE|DIRECTORY...
** An input that ends the process, or takes longer than --slow seconds, is left in fuzz_crash.<seed>-<number>. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fuzz.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MOST_BYTES ((size_t)8 << 20)
#define MOST_FILES 4096

void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static struct input {
  char *path;
  uint8_t *data;
  size_t size;
} inputs[MOST_FILES];
static size_t input_count;

static const uint8_t *current;
static size_t current_size;
static char crash_name[64];

static void keep(void) {
  int fd = current ? open(crash_name, O_WRONLY | O_CREAT | O_TRUNC, 0666) : -1;
  if (fd < 0) return;
  for (size_t done = 0; done < current_size;) {
    ssize_t n = write(fd, current + done, current_size - done);
    if (n <= 0) break;
    done += (size_t)n;
  }
  close(fd);
  static const char text[] = "fuzz: the input is in ";
  (void)!write(2, text, sizeof text - 1);
  (void)!write(2, crash_name, strlen(crash_name));
  (void)!write(2, "\n", 1);
  current = NULL;
}

static void on_signal(int number) {
  if (number == SIGALRM) {
    static const char text[] = "fuzz: too slow\n";
    (void)!write(2, text, sizeof text - 1);
  }
  keep();
  signal(number, SIG_DFL);
  raise(number == SIGALRM ? SIGABRT : number);
}

static int add(const char *path, const struct stat *st, int kind, struct FTW *walk) {
  (void)walk;
  if (kind != FTW_F || input_count == MOST_FILES || (size_t)st->st_size > MOST_BYTES / 2) return 0;
  struct input in = {0};
  if (!fuzz_seed(path, &in.data, &in.size)) return 0;
  if (!in.data) {
    FILE *f = fopen(path, "rb");
    in.data = malloc((size_t)st->st_size + 1);
    if (f && in.data) in.size = fread(in.data, 1, (size_t)st->st_size, f);
    if (f) fclose(f);
  }
  in.path = strdup(path);
  if (!in.data || !in.path) fuzz_die("memory", path);
  inputs[input_count++] = in;
  return 0;
}

/* Under a copy of exactly this size, so that sanitizers see its end. */
static void run(const uint8_t *data, size_t size, unsigned slow) {
  uint8_t *copy = malloc(size ? size : 1);
  if (!copy) fuzz_die("memory", "no copy");
  if (size) memcpy(copy, data, size);
  current = copy;
  current_size = size;
  alarm(slow);
  LLVMFuzzerTestOneInput(copy, size);
  alarm(0);
  current = NULL;
  free(copy);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The smaller one of three: small files run fast and change where it matters. */
static const struct input *choose(uint64_t *seed) {
  const struct input *best = &inputs[fuzz_random(seed, input_count)];
  for (int i = 0; i < 2; i++) {
    const struct input *other = &inputs[fuzz_random(seed, input_count)];
    if (other->size < best->size) best = other;
  }
  return best;
}

static long mutate(long most, uint64_t start, double end, unsigned slow) {
  uint8_t *data = malloc(MOST_BYTES);
  if (!data) fuzz_die("memory", "no buffer");
  long done = 0;
  for (; done < most && now() < end; done++) {
    uint64_t seed = (start * 1000003 + (uint64_t)done) * 0x9e3779b97f4a7c15u + 1;
    fuzz_random(&seed, 0);
    const struct input *in = choose(&seed);
    memcpy(data, in->data, in->size);
    size_t size = fuzz_mutate(data, in->size, MOST_BYTES, &seed);
    snprintf(crash_name, sizeof crash_name, "fuzz_crash.%llu-%ld", (unsigned long long)start, done);
    run(data, size, slow);
  }
  free(data);
  return done;
}

static void watch(void) {
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_NODEFER};
  static const int signals[] = {SIGABRT, SIGALRM, SIGFPE, SIGILL, SIGBUS, SIGSEGV};
  bool sanitized = __sanitizer_set_death_callback != NULL; /* it reports the faults itself */
  if (sanitized) __sanitizer_set_death_callback(keep);
  for (size_t i = 0; i < (sanitized ? 2 : sizeof signals / sizeof *signals); i++) sigaction(signals[i], &action, NULL);
}

int main(int argc, char **argv) {
  long most = 0;
  uint64_t seed = 1;
  double seconds = 1e9, start = now();
  unsigned slow = 30;
  for (int i = 1; i < argc; i++) {
    const char *next = i + 1 < argc ? argv[i + 1] : "0";
    if (strcmp(argv[i], "--mutate") == 0)
      most = strtol(next, NULL, 10), i++;
    else if (strcmp(argv[i], "--seed") == 0)
      seed = strtoull(next, NULL, 10), i++;
    else if (strcmp(argv[i], "--seconds") == 0)
      seconds = strtod(next, NULL), i++;
    else if (strcmp(argv[i], "--slow") == 0)
      slow = (unsigned)strtoul(next, NULL, 10), i++;
    else if (nftw(argv[i], add, 16, FTW_PHYS) != 0)
      fuzz_die("cannot read", argv[i]);
  }
  if (!input_count) fuzz_die("no input", "nothing to run");
  watch();
  for (size_t i = 0; i < input_count; i++) {
    snprintf(crash_name, sizeof crash_name, "fuzz_crash.file-%zu", i);
    run(inputs[i].data, inputs[i].size, slow);
  }
  long done = mutate(most, seed, start + seconds, slow);
  printf("%zu files, %ld changed copies, %.1f s\n", input_count, done, now() - start);
  for (size_t i = 0; i < input_count; i++) {
    free(inputs[i].data);
    free(inputs[i].path);
  }
  return 0;
}
