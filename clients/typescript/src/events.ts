/** Version of the envelope. */
export const ENVELOPE_VERSION = 1 as const;

/**
 * What an event map is when none is given: any event type, any payload. Your own is an interface from
 * event type to payload, such as `EventPayloads` of `outbox-relay types generate --lang typescript`.
 */
export type EventMap = Record<string, unknown>;

/** An event as subscribers receive it in `message.data`. */
export interface Envelope<T extends string = string, P = unknown> {
  /** The event's id: the same whenever the event is delivered again. */
  id: string;
  version: typeof ENVELOPE_VERSION;
  tenantId: string;
  aggregateType: string;
  aggregateId: string;
  /** RFC 3339, UTC. */
  occurredAt: string;
  eventType: T;
  payload: P;
}

/** Any event of a map: `switch (event.eventType)` says which. */
export type EventOf<Events extends object, T extends keyof Events & string = keyof Events & string> = {
  [K in T]: Envelope<K, Events[K]>;
}[T];

/** Values of `message.extras.headers`: flat, as Ably requires. */
export type Headers = Readonly<Record<string, string | number | boolean | null>>;

/** What every new event has besides its type and payload. */
export interface NewEventBase {
  /** Whose channel gets the event; not blank, without `:` `*` `,` and control characters. */
  tenantId: string;
  aggregateType: string;
  aggregateId: string;
  /** Left out: the database makes one (UUID version 7). A repeated id is refused by the database. */
  id?: string | undefined;
  /** When it happened. Left out: `payload.occurredAt`, else the time of the insert. */
  occurredAt?: Date | string | undefined;
  headers?: Headers | undefined;
  /** W3C trace context of the writer; the publish is linked to it. Left out: `outbox.traceparent` of the transaction. */
  traceparent?: string | undefined;
}

/** An event to be written, of a map: the payload must be that of its `eventType`. */
export type NewEvent<Events extends object = EventMap> = {
  [T in keyof Events & string]: NewEventBase & { eventType: T; payload: Events[T] };
}[keyof Events & string];
