import type { InboundMessage, RealtimeChannel } from 'ably';

/** Why a gap could not be filled. */
export type GapReason =
  /** Ably no longer has everything, or it cannot be shown that it has. */
  | 'expired'
  /** More messages are missing than `maxGap`. */
  | 'too-many'
  /** History could not be read; `error` says why (capability `history`?). */
  | 'history-unavailable'
  /** Handlers were so slow that `maxQueue` messages waited; later ones were dropped. */
  | 'too-slow';

/** Where this subscriber was before it lost the channel. */
export interface Anchor {
  /** Ably's id of the last message before; `null`: there was none in history when we attached. */
  messageId: string | null;
  /** When it was received, by `now`; -Infinity: before we attached. */
  receivedAt: number;
}

/** What history gave: the messages behind the anchor, oldest first, and whether these are all. */
export interface Found {
  messages: InboundMessage[];
  missing?: { reason: GapReason; error?: unknown };
}

/** Ably's largest page. */
const PAGE = 1_000;

/**
 * Reads what was published between the anchor and the point where the channel attached again.
 *
 * Everything is there if the anchor itself is. A quiet channel's anchor may be older than what Ably keeps; then
 * everything is there if the loss began within what Ably keeps (`retentionMs`).
 */
export async function readGap(
  channel: RealtimeChannel,
  anchor: Anchor | undefined,
  lostAt: number,
  limits: { maxGap: number; retentionMs: number; now: () => number },
): Promise<Found> {
  const asked = limits.now();
  const newestFirst: InboundMessage[] = [];
  const found = (missing?: Found['missing']): Found => {
    const messages = newestFirst.reverse();
    return missing === undefined ? { messages } : { messages, missing };
  };
  const limit = Math.min(PAGE, limits.maxGap + 1);
  let page = await channel.history({ untilAttach: true, direction: 'backwards', limit });
  for (;;) {
    for (const message of page.items) {
      if (anchor !== undefined && message.id === anchor.messageId) return found();
      if (newestFirst.length === limits.maxGap) return found({ reason: 'too-many' });
      newestFirst.push(message);
    }
    const next = page.hasNext() ? await page.next() : null;
    if (next === null) break;
    page = next;
  }
  const kept = (since: number) => asked - since < limits.retentionMs;
  // Without an anchor history would begin before this subscriber did. And an anchor that Ably should still
  // have and has not says that something is gone.
  const whole = anchor !== undefined && kept(lostAt) && !kept(anchor.receivedAt);
  return found(whole ? undefined : { reason: 'expired' });
}
