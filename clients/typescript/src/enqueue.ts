import { explain } from './errors.js';
import type { EventMap, NewEvent } from './events.js';
import { idOf, statementOf, type AnyNewEvent, type EnqueueOptions } from './statement.js';

export { EnqueueError } from './errors.js';
export type { EnqueueOptions } from './statement.js';

/** The part of Prisma's client, or of its `$transaction` client, that is used. */
export interface PrismaQueryable {
  $queryRaw(strings: TemplateStringsArray, ...values: unknown[]): PromiseLike<unknown>;
}

/** The part of pg's `Client`, `PoolClient` or `Pool` that is used. */
export interface PgQueryable {
  query(text: string, values: unknown[]): Promise<{ rows: unknown[] }>;
}

/** The part of postgres.js' `sql`, or of what its `begin` passes, that is used. */
export interface PostgresJsQueryable {
  unsafe(query: string, parameters: (string | null)[]): PromiseLike<unknown>;
}

/** What events can be written through. For Drizzle: `enqueue` of `outbox-relay/drizzle`. */
export type Queryable = PrismaQueryable | PgQueryable | PostgresJsQueryable;

/**
 * Writes an event in the transaction of `tx`, and returns its id. Rolled back with it; published when it
 * commits. Give it the transaction (`tx` of Prisma's `$transaction` or of postgres.js' `begin`, pg's client on which you said `begin`): with
 * a pool or Prisma's own client the event has a transaction to itself.
 *
 * @throws EnqueueError what the database refuses, with its hint. The transaction is then aborted, as after
 * any error in PostgreSQL.
 */
export async function enqueue<Events extends object = EventMap>(
  tx: Queryable,
  event: NewEvent<Events>,
  options?: EnqueueOptions,
): Promise<string> {
  const { pieces, values } = statementOf(event as AnyNewEvent, options);
  try {
    if ('$queryRaw' in tx) {
      // As a tagged template would call it: parameters stay parameters.
      const strings = Object.assign([...pieces], { raw: pieces });
      return idOf(await tx.$queryRaw(strings, ...values));
    }
    const text = pieces.reduce((sql, piece, n) => `${sql}$${n}${piece}`);
    if ('query' in tx && typeof tx.query === 'function') return idOf((await tx.query(text, values)).rows);
    // Called so because the text may be anything; what varies in ours is a parameter.
    if ('unsafe' in tx && typeof tx.unsafe === 'function') return idOf(await tx.unsafe(text, values));
  } catch (error) {
    throw explain(error);
  }
  throw new TypeError('enqueue needs a client or transaction of Prisma, pg or postgres.js; for Drizzle import it from outbox-relay/drizzle');
}
