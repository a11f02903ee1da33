import type { ChannelStateChange, InboundMessage, RealtimeChannel } from 'ably';
import { makeClock } from './clock.js';
import type { Envelope, EventMap } from './events.js';
import { readGap, type Anchor } from './gap.js';
import { ChannelLostError, HandlerError, HistoryError, type SubscribeOptions, type Subscription } from './options.js';
import { parseEnvelope } from './parse.js';
import { withPayload } from './payload.js';
import { Recent } from './recent.js';

export { InvalidEventError } from './parse.js';
export { PayloadError, fetchPayload } from './payload.js';
export type { FetchPayloadOptions, PayloadReference } from './payload.js';
export { ChannelLostError, HandlerError, HistoryError } from './options.js';
export type { Delivery, Gap, Handlers, SubscribeOptions, Subscription } from './options.js';
export type { GapReason } from './gap.js';

/** A lost connection may go unnoticed this long: Ably's longest silence (15 s) and the wait for an answer (10 s). */
const UNNOTICED_MS = 25_000;
/** History is asked this often, with pauses of 0.5 s, 1 s and 2 s. */
const HISTORY_TRIES = 4;

/**
 * Receives the events of a channel: each once, in order, with gaps filled from history.
 *
 * Resolves when the channel is attached.
 * @throws what `channel.subscribe` throws; nothing is left behind then.
 */
export async function subscribe<Events extends object = EventMap>(
  channel: RealtimeChannel,
  options: SubscribeOptions<NoInfer<Events>>,
): Promise<Subscription> {
  const subscriber = new Subscriber(channel, options as unknown as SubscribeOptions);
  await subscriber.begin();
  return {
    unsubscribe: () => subscriber.end(),
    settled: () => subscriber.settled(),
  };
}

type Task = () => Promise<void>;

class Subscriber {
  readonly #channel: RealtimeChannel;
  readonly #options: SubscribeOptions;
  readonly #now = makeClock();
  readonly #ids: Recent<true>;
  readonly #aggregates: Recent<{ id: string; occurredAt: string; at: number }>;
  #work: Promise<void> = Promise.resolve();
  #waiting = 0;
  #overflowed = false;
  #active = true;
  #attached = false;
  #anchor: Anchor | undefined;
  #losses = 0;
  /** When the channel was noticed to be gone; `undefined` while it is not. */
  #goneAt: number | undefined;
  #lastEventId: string | undefined;
  #wake: (() => void) | undefined;

  constructor(channel: RealtimeChannel, options: SubscribeOptions) {
    this.#channel = channel;
    this.#options = options;
    this.#ids = new Recent(options.maxIds ?? 10_000);
    this.#aggregates = new Recent(options.maxAggregates ?? 10_000);
  }

  async begin(): Promise<void> {
    // Before subscribing: the first `attached` must be seen.
    this.#channel.on(this.#onState);
    try {
      await this.#channel.subscribe(this.#onMessage);
    } catch (error) {
      this.end();
      throw error;
    }
    // Already attached by somebody else: there is no change of state to see.
    if (this.#channel.state === 'attached') this.#firstAttached();
  }

  end(): void {
    this.#active = false;
    this.#channel.unsubscribe(this.#onMessage);
    this.#channel.off(this.#onState);
    this.#wake?.();
  }

  settled(): Promise<void> {
    return this.#work;
  }

  #enqueue(task: Task): void {
    this.#waiting += 1;
    this.#work = this.#work.then(async () => {
      this.#waiting -= 1;
      if (!this.#active) return;
      try {
        await task();
      } catch (error) {
        await this.#report(error instanceof Error ? error : new Error(String(error)));
      }
    });
  }

  readonly #onMessage = (message: InboundMessage): void => {
    this.#anchor = { messageId: message.id, receivedAt: this.#now() };
    if (this.#overflowed) return;
    if (this.#waiting >= (this.#options.maxQueue ?? 10_000)) {
      this.#overflowed = true;
      this.#enqueue(async () => {
        this.#overflowed = false;
        await this.#resync({ reason: 'too-slow' }, 0);
      });
      return;
    }
    this.#enqueue(() => this.#deliver(message, false));
  };

  readonly #onState = (change: ChannelStateChange): void => {
    if (change.current === 'attached') {
      if (!this.#attached) {
        this.#firstAttached();
      } else if (!change.resumed) {
        this.#discontinuity();
      }
      this.#goneAt = undefined;
      this.#wake?.();
      return;
    }
    if (this.#attached) this.#goneAt ??= this.#now();
    if (this.#attached && (change.current === 'failed' || change.current === 'detached')) {
      const error = new ChannelLostError(this.#channel.name, change.current, change.reason);
      this.#enqueue(() => this.#report(error));
    }
  };

  #firstAttached(): void {
    if (this.#attached) return;
    this.#attached = true;
    // Lost again already: history would then reach up to the second attach, over the gap.
    const late = () => this.#anchor !== undefined || this.#losses > 0;
    // The newest message before ours: where a gap begins when the channel is lost before anything has arrived.
    this.#enqueue(async () => {
      if (late()) return;
      try {
        const page = await this.#channel.history({ untilAttach: true, limit: 1 });
        if (!late()) this.#anchor = { messageId: page.items[0]?.id ?? null, receivedAt: -Infinity };
      } catch (error) {
        await this.#report(new HistoryError(this.#channel.name, error));
      }
    });
  }

  #discontinuity(): void {
    const lostAt = (this.#goneAt ?? this.#now()) - UNNOTICED_MS;
    const before = this.#anchor;
    const lastReceived = before?.receivedAt ?? -Infinity;
    this.#losses += 1;
    // Behind what arrived before it, and before what arrives from now on.
    this.#enqueue(async () => {
      const since = Math.max(lostAt, lastReceived);
      const found = await this.#history(before, since);
      if (!this.#active || found === undefined) return;
      const newest = found.messages.at(-1);
      // Where the next gap begins, unless something has arrived behind this one already.
      if (this.#anchor === before && (newest !== undefined || found.missing !== undefined)) {
        this.#anchor = { messageId: newest?.id ?? null, receivedAt: newest === undefined ? -Infinity : since };
      }
      if (found.missing !== undefined) await this.#resync(found.missing, found.messages.length);
      for (const message of found.messages) {
        if (!this.#active) return;
        await this.#deliver(message, true);
      }
    });
  }

  async #history(anchor: Anchor | undefined, lostAt: number) {
    const limits = {
      maxGap: this.#options.maxGap ?? 10_000,
      retentionMs: this.#options.retentionMs ?? 110_000,
      now: this.#now,
    };
    for (let tries = 1; this.#active; tries += 1) {
      await this.#untilAttached();
      if (!this.#active) return undefined;
      try {
        return await readGap(this.#channel, anchor, lostAt, limits);
      } catch (error) {
        if (this.#channel.state !== 'attached' && tries < HISTORY_TRIES) continue;
        if (tries >= HISTORY_TRIES) return { messages: [], missing: { reason: 'history-unavailable' as const, error } };
        await this.#pause(250 * 2 ** tries);
      }
    }
    return undefined;
  }

  /** Nothing can arrive meanwhile, so nothing is held up. */
  async #untilAttached(): Promise<void> {
    while (this.#active && this.#channel.state !== 'attached') {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  async #pause(ms: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((resolve) => {
      timer = setTimeout(resolve, ms);
      this.#wake = () => {
        if (!this.#active) resolve();
      };
    });
    clearTimeout(timer);
  }

  async #deliver(message: InboundMessage, recovered: boolean): Promise<void> {
    const envelope = parseEnvelope(message.data, message.id);
    if (this.#ids.has(envelope.id)) return;
    this.#ids.set(envelope.id, true);
    this.#lastEventId = envelope.id;
    // Thrown, it is reported, and the next event goes on.
    const event = await withPayload(envelope, this.#options.payloadUrl);
    if (!this.#active) return;
    if (this.#options.validate !== undefined && !(await this.#call('validate', event.id, () => this.#options.validate?.(event)))) {
      return;
    }
    const newest = this.#newestBefore(event);
    const delivery = { channel: this.#channel.name, message, recovered, outOfOrder: newest !== undefined };
    if (newest !== undefined) await this.#call('onOutOfOrder', event.id, () => this.#options.onOutOfOrder?.(event, newest));
    if (!this.#active) return;
    // Own properties only: an event type `constructor` is unknown.
    const handler = Object.hasOwn(this.#options.on, event.eventType) ? this.#options.on[event.eventType] : undefined;
    if (handler !== undefined) {
      await this.#call(`the handler of ${event.eventType}`, event.id, () => handler(event, delivery));
    } else {
      await this.#call('onUnknown', event.id, () => this.#options.onUnknown?.(event, delivery));
    }
  }

  /** The event of the same aggregate that happened later and was delivered already, if there is one. */
  #newestBefore({ id, aggregateType, aggregateId, occurredAt }: Envelope): { id: string; occurredAt: string } | undefined {
    const key = JSON.stringify([aggregateType, aggregateId]);
    const newest = this.#aggregates.get(key);
    const at = Date.parse(occurredAt);
    if (newest !== undefined && at < newest.at) return { id: newest.id, occurredAt: newest.occurredAt };
    if (!Number.isNaN(at)) this.#aggregates.set(key, { id, occurredAt, at });
    return undefined;
  }

  async #resync(missing: { reason: 'expired' | 'too-many' | 'history-unavailable' | 'too-slow'; error?: unknown }, recovered: number) {
    const gap = { channel: this.#channel.name, lastEventId: this.#lastEventId, recovered, ...missing };
    await this.#call('onResync', undefined, () => this.#options.onResync(gap));
  }

  async #call(name: string, eventId: string | undefined, callback: () => unknown): Promise<boolean> {
    try {
      await callback();
      return true;
    } catch (error) {
      await this.#report(new HandlerError(name, eventId, error));
      return false;
    }
  }

  async #report(error: Error): Promise<void> {
    if (!this.#active) return;
    try {
      if (this.#options.onError === undefined) console.error(error);
      else await this.#options.onError(error);
    } catch (thrown) {
      // onError itself: there is nobody else to tell.
      console.error(thrown);
    }
  }
}
