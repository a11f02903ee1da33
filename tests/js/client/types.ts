// What the compiler must let pass and what it must refuse; never run.
import { enqueue, subscribe, type EventOf, type NewEvent, type Queryable } from 'outbox-relay';
import { enqueue as enqueueByDrizzle } from 'outbox-relay/drizzle';
import type { RealtimeChannel } from 'ably';
import type { NodePgDatabase } from 'drizzle-orm/node-postgres';
import type { Client, Pool, PoolClient } from 'pg';
import type { EventPayloads } from './events.js';
import type { Prisma, PrismaClient } from '../docs/prisma/generated/client.js';

export async function producers(
  pg: Client, pool: Pool, pooled: PoolClient, prisma: PrismaClient, prismaTx: Prisma.TransactionClient, drizzle: NodePgDatabase,
): Promise<string> {
  const about = { tenantId: 't', aggregateType: 'KitchenTask', aggregateId: '1' };
  const claimed: NewEvent<EventPayloads> = {
    ...about, eventType: 'kitchen.task.claimed', payload: { taskId: '1', employeeId: 'e', claimedAt: 'now' },
  };
  for (const tx of [pg, pool, pooled, prisma, prismaTx] satisfies Queryable[]) await enqueue(tx, claimed);
  await enqueueByDrizzle(drizzle, claimed, { schema: 'other' });
  await drizzle.transaction((tx) => enqueueByDrizzle<EventPayloads>(tx, claimed));
  await enqueue(pg, { ...about, eventType: 'anything.goes', payload: 7, headers: { a: 1 }, occurredAt: new Date() });
  // @ts-expect-error: of another event type
  await enqueue<EventPayloads>(pg, { ...about, eventType: 'kitchen.task.progress', payload: { taskId: '1' } });
  // @ts-expect-error: not in the map
  await enqueue<EventPayloads>(pg, { ...about, eventType: 'kitchen.task.lost', payload: {} });
  // @ts-expect-error: the tenant is missing
  await enqueue(pg, { aggregateType: 'a', aggregateId: '1', eventType: 'a.b', payload: {} });
  // @ts-expect-error: headers are flat
  await enqueue(pg, { ...about, eventType: 'a.b', payload: {}, headers: { a: { b: 1 } } });
  // @ts-expect-error: Drizzle has an entry of its own
  await enqueue(drizzle, claimed);
  return enqueue(pg, claimed);
}

export async function subscribers(channel: RealtimeChannel): Promise<void> {
  const subscription = await subscribe<EventPayloads>(channel, {
    on: {
      'kitchen.task.claimed': ({ payload, eventType }) => {
        const literal: 'kitchen.task.claimed' = eventType;
        // @ts-expect-error: of another event type
        payload.progressPercent;
        return `${literal} ${payload.employeeId}`;
      },
      'kitchen.task.progress': async (event, delivery) => {
        const percent: number = event.payload.progressPercent;
        return delivery.recovered || percent === 100;
      },
    },
    onResync: ({ reason }) => reason === 'expired',
  });
  subscription.unsubscribe();
  await subscription.settled();
  // @ts-expect-error: not in the map
  await subscribe<EventPayloads>(channel, { on: { 'kitchen.task.lost': () => 0 }, onResync() {} });
  // @ts-expect-error: somebody must answer to gaps
  await subscribe<EventPayloads>(channel, { on: {} });
  await subscribe(channel, { on: { 'a.b': (event) => event.payload }, onResync() {} });
}

export function describe(event: EventOf<EventPayloads>): string {
  switch (event.eventType) {
    case 'kitchen.task.claimed':
      return event.payload.claimedAt;
    case 'kitchen.task.progress':
      return event.payload.updatedAt;
    default: {
      const none: never = event;
      return none;
    }
  }
}
