/* Preloaded into a relay: shifts the wall clock by CLOCK_SKEW_S seconds and leaves the others alone. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
  const char *skew = getenv("CLOCK_SKEW_S");
  int result = (int)syscall(SYS_clock_gettime, clock, now);
  if (result == 0 && clock == CLOCK_REALTIME && skew)
    now->tv_sec += atol(skew);
  return result;
}
