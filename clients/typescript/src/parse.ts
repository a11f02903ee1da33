import { ENVELOPE_VERSION, type Envelope } from './events.js';

/** A message on the channel that is no event of this version. */
export class InvalidEventError extends Error {
  override readonly name = 'InvalidEventError';
  constructor(
    message: string,
    /** Ably's id of the message. */
    readonly messageId: string | undefined,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

const TEXTS = ['id', 'tenantId', 'aggregateType', 'aggregateId', 'occurredAt', 'eventType'] as const;

/** Reads the envelope; the payload is not looked at. */
export function parseEnvelope(data: unknown, messageId: string | undefined): Envelope {
  const wrong = (what: string) => new InvalidEventError(`not an event of outbox-relay: ${what}`, messageId);
  if (typeof data !== 'object' || data === null) throw wrong('data is no object');
  const fields = data as Record<string, unknown>;
  if (fields['version'] !== ENVELOPE_VERSION) {
    throw wrong(`version is ${JSON.stringify(fields['version'])}, this client knows ${ENVELOPE_VERSION}`);
  }
  for (const name of TEXTS) {
    if (typeof fields[name] !== 'string' || fields[name] === '') throw wrong(`${name} is no text`);
  }
  if (!('payload' in fields)) throw wrong('payload is missing');
  return fields as unknown as Envelope;
}
