/**
 * Milliseconds that never run backwards and do not stop while a laptop sleeps: the monotonic clock may stand
 * still then, the wall clock may be set back, and whichever went further is right.
 */
export function makeClock(): () => number {
  const wall = Date.now();
  const steady = performance.now();
  let last = 0;
  return () => {
    last = Math.max(last, Date.now() - wall, performance.now() - steady);
    return last;
  };
}
