import type { Envelope } from './events.js';

/** What is the payload of an event that was too large for a message: where the relay has the payload. */
export interface PayloadReference {
  payloadRef: string;
}

/** A payload cannot be had: `status` is the relay's answer (403 expired, 404 and 410 gone), if there was one. */
export class PayloadError extends Error {
  override readonly name = 'PayloadError';
  constructor(
    message: string,
    readonly eventId: string | undefined,
    readonly status?: number | undefined,
    options?: ErrorOptions,
  ) {
    super(`the payload${eventId === undefined ? '' : ` of event ${eventId}`} cannot be fetched: ${message}`, options);
  }
}

/** How payloads are fetched. */
export interface FetchPayloadOptions {
  /** Of one try. Default 10,000. */
  timeoutMs?: number;
  /** Largest payload. Default 64 MiB. */
  maxBytes?: number;
}

/** Tries, with pauses of 0.5 s and 1 s; only after what may pass: no answer, 429, 5xx. */
const TRIES = 3;
const MAX_BYTES = 64 * 1024 * 1024;

/** Whether a payload is a link of this relay: of `payloadUrl`, its setting `payload.url`. */
export function isReference(payload: unknown, payloadUrl: string): payload is PayloadReference {
  if (typeof payload !== 'object' || payload === null || Object.keys(payload).length !== 1) return false;
  const link = (payload as Partial<PayloadReference>).payloadRef;
  if (typeof link !== 'string' || !URL.canParse(link)) return false;
  const [at, base] = [new URL(link), new URL(payloadUrl)];
  // Whoever may publish on the channel must not make this program ask anything else.
  return at.origin === base.origin && at.pathname.startsWith(`${base.pathname.replace(/\/+$/, '')}/events/`);
}

/**
 * The payload that a link stands for.
 * @throws PayloadError
 */
export async function fetchPayload(link: string, options: FetchPayloadOptions = {}, eventId?: string): Promise<unknown> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await ask(link, options, eventId);
    } catch (error) {
      const passes = !(error instanceof PayloadError) || error.status === 429 || (error.status ?? 0) >= 500;
      if (tries < TRIES && passes) {
        await new Promise((resolve) => setTimeout(resolve, 250 * 2 ** tries));
        continue;
      }
      throw error instanceof PayloadError ? error : new PayloadError(String(error), eventId, undefined, { cause: error });
    }
  }
}

async function ask(link: string, options: FetchPayloadOptions, eventId: string | undefined): Promise<unknown> {
  const signal = AbortSignal.timeout(options.timeoutMs ?? 10_000);
  const response = await fetch(link, { signal, redirect: 'error', credentials: 'omit' });
  if (!response.ok) {
    await response.body?.cancel();
    throw new PayloadError(`the relay answers ${response.status}`, eventId, response.status);
  }
  const text = await read(response, options.maxBytes ?? MAX_BYTES, eventId);
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new PayloadError('it is no JSON', eventId, response.status, { cause });
  }
}

async function read(response: Response, maxBytes: number, eventId: string | undefined): Promise<string> {
  const reader = response.body?.getReader();
  if (reader === undefined) return '';
  const decoder = new TextDecoder();
  let [text, bytes] = ['', 0];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    bytes += value.byteLength;
    if (bytes > maxBytes) {
      await reader.cancel();
      throw new PayloadError(`it has more than ${maxBytes} bytes`, eventId, response.status);
    }
    text += decoder.decode(value, { stream: true });
  }
}

/** The event with its payload, fetched if the message has only a link to it. */
export async function withPayload(event: Envelope, payloadUrl: string | undefined): Promise<Envelope> {
  if (payloadUrl === undefined || !isReference(event.payload, payloadUrl)) return event;
  return { ...event, payload: await fetchPayload(event.payload.payloadRef, {}, event.id) };
}
