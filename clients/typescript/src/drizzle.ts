import { sql, type SQL } from 'drizzle-orm';
import { explain } from './errors.js';
import type { EventMap, NewEvent } from './events.js';
import { idOf, statementOf, type AnyNewEvent, type EnqueueOptions } from './statement.js';

export { EnqueueError } from './errors.js';
export type { EnqueueOptions } from './statement.js';

/** The part of a Drizzle database or transaction on PostgreSQL that is used. */
export interface DrizzleQueryable {
  execute(query: SQL): PromiseLike<unknown>;
}

/**
 * Writes an event in the transaction of `tx`, and returns its id, as `enqueue` of `outbox-relay` does.
 *
 * @throws EnqueueError what the database refuses, with its hint.
 */
export async function enqueue<Events extends object = EventMap>(
  tx: DrizzleQueryable,
  event: NewEvent<Events>,
  options?: EnqueueOptions,
): Promise<string> {
  const { pieces, values } = statementOf(event as AnyNewEvent, options);
  const strings = Object.assign([...pieces], { raw: pieces });
  let result: unknown;
  try {
    result = await tx.execute(sql(strings, ...values));
  } catch (error) {
    throw explain(error);
  }
  // node-postgres answers with { rows }, postgres.js with the rows themselves.
  return idOf(Array.isArray(result) ? result : (result as { rows?: unknown }).rows);
}
