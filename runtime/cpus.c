/* How many threads a process should use: affinity, cgroup quota, OMP_NUM_THREADS. A container with a quota of two CPUs on a
** machine of 64 shows 64 CPUs to sched_getaffinity; 64 threads would then be throttled for most of each period. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_THREADS 1024

/* A non-negative decimal number at *text, locale-free; -1 when there is none. Moves *text behind it. */
static int64_t number(const char **text) {
  const char *s = *text;
  if (*s < '0' || *s > '9') return -1;
  int64_t value = 0;
  for (; *s >= '0' && *s <= '9'; s++) {
    if (value > (INT64_MAX - 9) / 10) return -1;
    value = value * 10 + (*s - '0');
  }
  *text = s;
  return value;
}

/* The first line of a small file into text; false when it cannot be read. */
static bool first_line(const char *path, char *text, size_t size) {
  FILE *file = fopen(path, "re");
  if (!file) return false;
  bool good = fgets(text, (int)size, file) != NULL;
  fclose(file);
  return good;
}

static int ratio_up(int64_t quota, int64_t period) {
  if (quota <= 0 || period <= 0) return 0;
  int64_t cpus = (quota - 1) / period + 1;
  return cpus > MAX_THREADS ? MAX_THREADS : (int)cpus;
}

static int quota_v2(const char *directory) {
  char path[1024], line[128];
  if (snprintf(path, sizeof path, "%s/cpu.max", directory) >= (int)sizeof path) return 0;
  if (!first_line(path, line, sizeof line)) return 0;
  const char *s = line;
  int64_t quota = number(&s); /* "max 100000": no limit */
  if (quota < 0 || *s++ != ' ') return 0;
  return ratio_up(quota, number(&s));
}

static int quota_v1(const char *directory) {
  char path[1024], quota[64], period[64];
  if (snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", directory) >= (int)sizeof path) return 0;
  if (!first_line(path, quota, sizeof quota)) return 0;
  if (snprintf(path, sizeof path, "%s/cpu.cfs_period_us", directory) >= (int)sizeof path) return 0;
  if (!first_line(path, period, sizeof period)) return 0;
  const char *q = quota, *p = period; /* "-1": no limit */
  return ratio_up(number(&q), number(&p));
}

/* The tightest quota of a group and of all groups above it. Inside a container the group's path may name directories that
** only the host sees: those are simply not there, and the mount's own root is the container's group. */
static int quota_upwards(const char *mount, const char *group, int (*quota_of)(const char *directory)) {
  char directory[768];
  if (snprintf(directory, sizeof directory, "%s%s", mount, group) >= (int)sizeof directory) return quota_of(mount);
  int least = 0;
  size_t base = strlen(mount);
  for (;;) {
    int quota = quota_of(directory);
    if (quota > 0 && (least == 0 || quota < least)) least = quota;
    size_t length = strlen(directory);
    if (length <= base) return least;
    while (length > base && directory[length - 1] != '/') length--;
    directory[length > base ? length - 1 : base] = '\0';
  }
}

/* Whether the comma-separated list of controllers has "cpu". */
static bool has_cpu(const char *list, size_t length) {
  const char *end = list + length;
  while (list < end) {
    const char *comma = memchr(list, ',', (size_t)(end - list));
    size_t part = (size_t)((comma ? comma : end) - list);
    if (part == 3 && memcmp(list, "cpu", 3) == 0) return true;
    list += part + 1;
  }
  return false;
}

int mien__cpu_quota(const char *root, const char *self) {
  static const char *const v1_mounts[] = {"cpu", "cpu,cpuacct", "cpuacct,cpu"};
  FILE *file = fopen(self, "re");
  if (!file) return 0;
  int least = 0;
  char line[512], mount[256];
  while (fgets(line, sizeof line, file)) { /* "0::/group" (v2) or "4:cpu,cpuacct:/group" (v1) */
    line[strcspn(line, "\n")] = '\0';
    char *controllers = strchr(line, ':');
    char *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group) continue;
    size_t length = (size_t)(group - controllers - 1);
    group++;
    int quota = 0;
    if (length == 0) {
      quota = quota_upwards(root, group, quota_v2);
    } else if (has_cpu(controllers + 1, length)) {
      for (size_t i = 0; i < sizeof v1_mounts / sizeof *v1_mounts && quota == 0; i++)
        if (snprintf(mount, sizeof mount, "%s/%s", root, v1_mounts[i]) < (int)sizeof mount)
          quota = quota_upwards(mount, group, quota_v1);
    }
    if (quota > 0 && (least == 0 || quota < least)) least = quota;
  }
  fclose(file);
  return least;
}

static int affinity(void) {
  for (int cpus = 1024; cpus <= 1 << 16; cpus *= 4) { /* the kernel refuses a set smaller than its own */
    cpu_set_t *set = CPU_ALLOC(cpus);
    if (!set) return 1;
    size_t bytes = CPU_ALLOC_SIZE(cpus);
    int count = sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
    int failed = errno;
    CPU_FREE(set);
    if (count > 0) return count;
    if (failed != EINVAL) return 1;
  }
  return 1;
}

int mien__cpus(void) {
  int count = affinity();
  int quota = mien__cpu_quota("/sys/fs/cgroup", "/proc/self/cgroup");
  return quota > 0 && quota < count ? quota : count;
}

int mien__threads_default(void) {
  int count = mien__cpus();
  const char *omp = getenv("OMP_NUM_THREADS"); /* may be a list by nesting level: "4,2" */
  if (omp) {
    int64_t wanted = number(&omp);
    if (wanted > 0 && wanted < count) count = (int)wanted;
  }
  return count > MAX_THREADS ? MAX_THREADS : count;
}
