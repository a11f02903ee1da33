import type { NewEventBase } from './events.js';

/** A new event, its type and payload no longer tied to a map. */
export type AnyNewEvent = NewEventBase & { eventType: string; payload: unknown };

/** Options of `enqueue`. */
export interface EnqueueOptions {
  /** The outbox's schema, as in the relay's `database.schema`. Default `outbox`. */
  schema?: string | undefined;
}

/** Text around the parameters, one piece more than there are parameters. */
export interface Statement {
  pieces: string[];
  values: (string | null)[];
}

// Every parameter is text and cast by the database: drivers differ in what they make of dates and
// objects, none in text. A driver that sees `$3::jsonb` may encode a string as a JSON string.
const CASTS = ['text', 'text', 'text::jsonb', 'text', 'text', 'text', 'text::timestamptz', 'text::jsonb'];

/** The call of the database's `enqueue`. */
export function statementOf(event: AnyNewEvent, options: EnqueueOptions = {}): Statement {
  const schema = options.schema ?? 'outbox';
  if (schema === '' || schema.includes('\0')) throw new TypeError('schema must be a name, such as outbox');
  const open = `select "${schema.replaceAll('"', '""')}".enqueue(`;
  const { occurredAt, traceparent } = event;
  // Only if there is one: an outbox that an older version has migrated takes no such argument.
  const casts = traceparent === undefined ? CASTS : [...CASTS, 'text'];
  const pieces = casts.map((cast, n) => (n === 0 ? open : `::${casts[n - 1] ?? cast}, `));
  pieces.push(`::${casts[casts.length - 1] ?? 'text'}) as id`);
  const values = [
    event.tenantId ?? null,
    event.eventType ?? null,
    json(event.payload, 'payload'),
    event.aggregateType ?? null,
    event.aggregateId ?? null,
    event.id ?? null,
    occurredAt instanceof Date ? occurredAt.toISOString() : (occurredAt ?? null),
    event.headers === undefined ? null : json(event.headers, 'headers'),
    ...(traceparent === undefined ? [] : [traceparent]),
  ];
  return { pieces, values };
}

/** The id that the statement returned. */
export function idOf(rows: unknown): string {
  const id = Array.isArray(rows) ? (rows[0] as { id?: unknown } | undefined)?.id : undefined;
  if (typeof id !== 'string') throw new TypeError('the database returned no id; is this the outbox of outbox-relay?');
  return id;
}

/** As JSON text; says what is wrong about a bigint, where `JSON.stringify` would not say in what. */
function json(value: unknown, what: string): string | null {
  if (value === undefined) return null;
  const text = JSON.stringify(value, (_, inner: unknown) => {
    if (typeof inner === 'bigint') {
      throw new TypeError(`${what} has a bigint, which JSON cannot carry safely; write it as a string`);
    }
    return inner;
  });
  return text ?? null;
}
