import type { ErrorInfo, InboundMessage } from 'ably';
import type { EventMap, EventOf } from './events.js';
import type { GapReason } from './gap.js';

/** How an event arrived. */
export interface Delivery {
  channel: string;
  /** Ably's message: `extras.headers`, `timestamp`. */
  message: InboundMessage;
  /** Read from history after the channel had been lost. */
  recovered: boolean;
  /** It happened before an event of the same aggregate that was delivered already. */
  outOfOrder: boolean;
}

// A method, because parameters of methods may be narrower: without an event map the handler of 'a.b' gets an
// Envelope<'a.b'>, where its index signature says Envelope<string>.
type Handler<E> = { call(event: E, delivery: Delivery): unknown }['call'];

/** Handlers by event type; none, one or all of a map. */
export type Handlers<Events extends object> = {
  [T in keyof Events & string]?: Handler<EventOf<Events, T>>;
};

/** A gap that could not be filled: read the state again from your own source. */
export interface Gap {
  channel: string;
  reason: GapReason;
  /** The last event before the gap, if there was one. */
  lastEventId: string | undefined;
  /** Messages of the gap that history still had; they are delivered after `onResync`. */
  recovered: number;
  /** Of `history-unavailable`. */
  error?: unknown;
}

/** What `subscribe` is told. Callbacks run one at a time, in order; a promise is waited for. */
export interface SubscribeOptions<Events extends object = EventMap> {
  on: Handlers<Events>;
  /** Events whose type has no handler. Left out: ignored. */
  onUnknown?: (event: EventOf<EventMap>, delivery: Delivery) => unknown;
  /**
   * Events were missed and history cannot fill the gap: load the state anew. What follows may be older than what
   * you loaded; compare `occurredAt`, or apply events so that a repeat does no harm.
   */
  onResync: (gap: Gap) => unknown;
  /**
   * What went wrong: `InvalidEventError`, `HandlerError` (a callback threw), `HistoryError`, `ChannelLostError`,
   * `PayloadError`.
   * Left out: `console.error`.
   */
  onError?: (error: Error) => unknown;
  /** An event that happened before one of the same aggregate already delivered; its handler is called too. */
  onOutOfOrder?: (event: EventOf<EventMap>, newest: { id: string; occurredAt: string }) => unknown;
  /** Looks at an event before its handler; what it throws goes to `onError` and the event to nobody. */
  validate?: (event: EventOf<EventMap>) => unknown;
  /**
   * The relay's `payload.url`. Payloads that it has published as a link (`message.oversize = reference`) are fetched before
   * anything else sees the event; what cannot be fetched goes to `onError` as a `PayloadError`, and its event to nobody.
   * Left out: handlers get `{ payloadRef }`, for `fetchPayload`. No other links are followed.
   */
  payloadUrl?: string;
  /** Event ids remembered, to drop repeats. Default 10,000. */
  maxIds?: number;
  /** Aggregates whose newest time is remembered. Default 10,000. */
  maxAggregates?: number;
  /** Messages that may wait for handlers. Default 10,000; beyond it `onResync`. */
  maxQueue?: number;
  /** Messages that a gap may have. Default 10,000; beyond it `onResync`. */
  maxGap?: number;
  /**
   * How far back the channel's history reaches, in ms. Default 110,000: Ably keeps two minutes unless the
   * channel's rule persists messages (then 24 or 72 hours); ten seconds are for clocks and transit.
   */
  retentionMs?: number;
}

/** A subscription. */
export interface Subscription {
  /** From now on no callback is called. The channel stays attached: others may use it. */
  unsubscribe(): void;
  /** Resolves when everything that has arrived so far has been handled. Not to be awaited in a callback. */
  settled(): Promise<void>;
}

/** A callback threw, or its promise was rejected: `cause`. Later events go on. */
export class HandlerError extends Error {
  override readonly name = 'HandlerError';
  constructor(
    readonly callback: string,
    readonly eventId: string | undefined,
    cause: unknown,
  ) {
    super(`${callback} failed${eventId === undefined ? '' : ` for event ${eventId}`}: ${String(cause)}`, { cause });
  }
}

/** The channel's history cannot be read: gaps will not be filled. */
export class HistoryError extends Error {
  override readonly name = 'HistoryError';
  constructor(channel: string, cause: unknown) {
    super(`cannot read the history of ${channel}; gaps become onResync. Does the key or token have the capability history?`, {
      cause,
    });
  }
}

/** The channel has failed or was detached: nothing arrives until it is attached again. */
export class ChannelLostError extends Error {
  override readonly name = 'ChannelLostError';
  constructor(
    readonly channel: string,
    readonly state: string,
    reason: ErrorInfo | undefined,
  ) {
    super(`channel ${channel} is ${state}${reason === undefined ? '' : `: ${reason.message}`}`, { cause: reason });
  }
}
