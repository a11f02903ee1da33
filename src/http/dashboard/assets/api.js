// Questions and orders to the relay.

let known = { actions: false, csrf: "" };

export class Refused extends Error {
  constructor(message, remedy, status) {
    super(message);
    this.remedy = remedy;
    this.status = status;
  }
}

async function read(response) {
  const text = await response.text();
  let body = {};
  try {
    body = JSON.parse(text);
  } catch {
    throw new Refused(text.trim() || `the relay answered ${response.status}`, "", response.status);
  }
  if (!response.ok) throw new Refused(body.error || `the relay answered ${response.status}`, body.remedy, response.status);
  return body;
}

async function reach(path, options) {
  try {
    return await fetch(`api/${path}`, { credentials: "same-origin", cache: "no-store", ...options });
  } catch {
    throw new Refused("the relay does not answer", "see whether it runs; the page goes on by itself when it does", 0);
  }
}

/** Asks; `parameters` that are empty are left out. */
export async function ask(path, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const query = new URLSearchParams(given).toString();
  return read(await reach(query ? `${path}?${query}` : path));
}

/** The text of an answer, unparsed: numbers beyond 2^53 survive. */
export async function askText(path) {
  const response = await reach(path);
  const text = await response.clone().text();
  await read(response);
  return text;
}

/** Has something done. The token shows that it is this page that asks; a relay that was started anew has another one. */
export async function order(path, body = {}) {
  const send = () =>
    reach(path, {
      method: "POST",
      headers: { "content-type": "application/json", "x-csrf-token": known.csrf },
      body: JSON.stringify(body),
    });
  let response = await send();
  if (response.status === 403) {
    const before = known.csrf;
    await session();
    if (known.csrf !== before) response = await send();
  }
  return read(response);
}

export async function session() {
  known = await ask("session");
  return known;
}

export function mayAct() {
  return known.actions;
}
