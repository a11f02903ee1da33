/* Preloaded into a relay: shifts the wall clock by CLOCK_SKEW_S seconds, and has all clocks and the waits of
   the event loop run CLOCK_RATE times as fast, from the start of the process on. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const long long SECOND = 1000000000LL;
static long long skew, rate = 1, start[16];

static long long read_clock(clockid_t clock) {
  struct timespec now = {0, 0};
  syscall(SYS_clock_gettime, clock, &now);
  return now.tv_sec * SECOND + now.tv_nsec;
}

__attribute__((constructor)) static void begin(void) {
  const char *seconds = getenv("CLOCK_SKEW_S"), *times = getenv("CLOCK_RATE");
  if (seconds) skew = atol(seconds) * SECOND;
  if (times && atol(times) > 0) rate = atol(times);
  for (clockid_t clock = 0; clock < 16; clock++) start[clock] = read_clock(clock);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int result = (int)syscall(SYS_clock_gettime, clock, now);
  if (result != 0 || clock < 0 || clock >= 16) return result;
  long long time = now->tv_sec * SECOND + now->tv_nsec;
  time = start[clock] + (time - start[clock]) * rate;
  if (clock == CLOCK_REALTIME) time += skew;
  now->tv_sec = time / SECOND;
  now->tv_nsec = time % SECOND;
  return result;
}

int epoll_wait(int epoll, struct epoll_event *events, int most, int timeout) {
  int wait = timeout <= 0 ? timeout : (int)((timeout + rate - 1) / rate);
  return (int)syscall(SYS_epoll_pwait, epoll, events, most, wait, NULL, 8);
}
