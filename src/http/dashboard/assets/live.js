// The stream of states: asked for while somebody looks, again later and later when it breaks, and said to be stale when nothing comes.

const STALE_MS = 4000;
const RETRY_MIN_MS = 1000;
const RETRY_MAX_MS = 30000;

const listeners = new Set();
let source = null;
let retry = RETRY_MIN_MS;
let timer = null;
let last = null;
let heard = 0;

/** Calls `listener(state)` for each state; returns what ends that. */
export function onState(listener) {
  listeners.add(listener);
  if (last) listener(last);
  return () => listeners.delete(listener);
}

export function start(onLink) {
  const connect = () => {
    clearTimeout(timer);
    source?.close();
    source = new EventSource("api/live");
    source.addEventListener("now", (message) => {
      retry = RETRY_MIN_MS;
      heard = Date.now();
      last = JSON.parse(message.data);
      for (const listener of listeners) listener(last);
      onLink("live", 0);
    });
    source.addEventListener("error", () => {
      source.close();
      source = null;
      // A thousand pages that were cut off together do not come back together.
      timer = setTimeout(connect, retry * (0.5 + Math.random()));
      retry = Math.min(retry * 2, RETRY_MAX_MS);
    });
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      clearTimeout(timer);
      source?.close();
      source = null;
    } else if (!source) {
      retry = RETRY_MIN_MS;
      connect();
    }
  });
  setInterval(() => {
    if (document.hidden) return;
    const silent = heard ? Date.now() - heard : 0;
    if (silent > STALE_MS) onLink("stale", silent / 1000);
    else if (!heard && !source) onLink("stale", 0);
  }, 1000);
  if (!document.hidden) connect();
}
