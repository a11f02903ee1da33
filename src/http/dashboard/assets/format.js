// Numbers and times as people read them.

const numbers = new Intl.NumberFormat("en");

export function count(n, more) {
  if (n === null || n === undefined) return "–";
  return numbers.format(n) + (more ? "+" : "");
}

/** A rate or another small number. */
export function number(n) {
  if (n === null || n === undefined) return "–";
  if (n === 0) return "0";
  if (n >= 1000) return numbers.format(Math.round(n));
  return n >= 100 || Number.isInteger(n) ? String(Math.round(n)) : n >= 10 ? n.toFixed(1) : n.toFixed(2);
}

/** Milliseconds. */
export function ms(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0 ms";
  if (value < 1) return `${value.toFixed(2)} ms`;
  if (value < 100) return `${value.toFixed(1)} ms`;
  if (value < 10000) return `${Math.round(value)} ms`;
  return seconds(value / 1000);
}

/** A length of time in seconds. */
export function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 10) return `${value.toFixed(1)} s`;
  if (value < 120) return `${Math.round(value)} s`;
  if (value < 7200) return `${Math.round(value / 60)} min`;
  if (value < 172800) return `${(value / 3600).toFixed(1)} h`;
  return `${Math.round(value / 86400)} d`;
}

export function bytes(n) {
  if (n === null || n === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (n >= 1024 && at < units.length - 1) {
    n /= 1024;
    at += 1;
  }
  return `${at === 0 ? n : n.toFixed(n < 10 ? 1 : 0)} ${units[at]}`;
}

export function plural(n, noun, more) {
  return `${count(n, more)} ${noun}${n === 1 && !more ? "" : "s"}`;
}

/** RFC 3339 as UTC, to the second. */
export function time(text) {
  if (!text) return "–";
  return text.length >= 19 ? `${text.slice(0, 10)} ${text.slice(11, 19)}` : text;
}

export function timeOfDay(unix) {
  return new Date(unix * 1000).toLocaleTimeString([], { hour12: false });
}

/** `90m`, `2h` or a time: what the search takes, or undefined. */
export function since(text) {
  const age = /^\s*(\d+)\s*(s|m|h|d)\s*$/.exec(text);
  if (age) return { ago: Math.min(Number(age[1]) * { s: 1, m: 60, h: 3600, d: 86400 }[age[2]], 4294967295) };
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : { at };
}
