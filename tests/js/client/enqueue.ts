// Enqueues by every driver and prints what came of it, one JSON object a line.
//
//   node enqueue.js DATABASE_URL SCHEMA
import { PrismaPg } from '@prisma/adapter-pg';
import { drizzle } from 'drizzle-orm/node-postgres';
import { drizzle as drizzleOnPostgresJs } from 'drizzle-orm/postgres-js';
import { EnqueueError, enqueue, type NewEvent } from 'outbox-relay';
import { enqueue as enqueueByDrizzle } from 'outbox-relay/drizzle';
import pg from 'pg';
import postgres from 'postgres';
import { PrismaClient } from '../docs/prisma/generated/client.js';

const [url = '', schema = ''] = process.argv.slice(2);
const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`);
const options = { schema };
const client = new pg.Client(url);
await client.connect();
const pool = new pg.Pool({ connectionString: url });
const prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: url }) });
const db = drizzle(pool);
// It does not decode a URL's parts; the host is a socket's directory.
const { hostname, pathname } = new URL(url);
const parts = { host: decodeURIComponent(hostname), database: decodeURIComponent(pathname.slice(1)) };
const js = postgres(url, parts);
const dbOnPostgresJs = drizzleOnPostgresJs(postgres(url, parts));

/** A transaction that enqueues, by each driver; `fail` rolls it back behind the event. */
type Producer = (event: NewEvent, fail?: boolean) => Promise<string>;
const oops = (fail?: boolean) => {
  if (fail === true) throw new Error('rolled back');
};
const inTransaction = async (tx: pg.Client | pg.PoolClient, event: NewEvent, fail?: boolean) => {
  await tx.query('begin');
  try {
    const id = await enqueue(tx, event, options);
    oops(fail);
    await tx.query('commit');
    return id;
  } catch (error) {
    await tx.query('rollback');
    throw error;
  }
};
const producers: Record<string, Producer> = {
  client: (event, fail) => inTransaction(client, event, fail),
  pooled: async (event, fail) => {
    const tx = await pool.connect();
    try {
      return await inTransaction(tx, event, fail);
    } finally {
      tx.release();
    }
  },
  prisma: (event, fail) =>
    prisma.$transaction(async (tx) => {
      const id = await enqueue(tx, event, options);
      oops(fail);
      return id;
    }),
  drizzle: (event, fail) =>
    db.transaction(async (tx) => {
      const id = await enqueueByDrizzle(tx, event, options);
      oops(fail);
      return id;
    }),
  postgresjs: (event, fail) =>
    js.begin(async (tx) => {
      const id = await enqueue(tx, event, options);
      oops(fail);
      return id;
    }),
  drizzlejs: (event, fail) =>
    dbOnPostgresJs.transaction(async (tx) => {
      const id = await enqueueByDrizzle(tx, event, options);
      oops(fail);
      return id;
    }),
};

const nasty = `'); drop table "x"; -- $1 \\ ü "`;
const about = { aggregateType: 'KitchenTask', aggregateId: nasty, eventType: 'kitchen.task.claimed' };
for (const [driver, produce] of Object.entries(producers)) {
  const event = { ...about, tenantId: driver, payload: { text: nasty, none: null, list: [1, '2'], n: 1.5 } };
  const full = {
    ...event,
    id: `own-${driver}`,
    occurredAt: new Date('2026-01-23T10:30:00.123Z'),
    headers: { trace: 't-1', n: 2, yes: true, no: null },
    traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
  };
  say({ type: 'enqueued', driver, id: await produce(event) });
  say({ type: 'enqueued', driver, id: await produce(full) });
  say({ type: 'enqueued', driver, id: await produce({ ...about, tenantId: driver, payload: 'a text', occurredAt: '2026-01-23T12:30:00+02:00' }) });
  await produce({ ...event, id: 'never' }, true).catch(() => say({ type: 'rolled back', driver }));
  const wrong: NewEvent[] = [
    { ...event, tenantId: ' ' },
    { ...event, tenantId: 'a:b' },
    { ...event, eventType: 'kitchen' },
    { ...event, payload: undefined },
    { ...event, payload: 'x'.repeat(70_000) },
    full,
  ];
  for (const refused of wrong) {
    await produce(refused).then(
      () => say({ type: 'accepted', driver }),
      (error: unknown) => {
        if (!(error instanceof EnqueueError)) throw error;
        const { message, code, hint, detail } = error;
        say({ type: 'refused', driver, message, code, hint, detail });
      },
    );
  }
}
for (const [driver, work] of Object.entries({
  pg: () => enqueue(pool, { ...about, tenantId: 't', payload: {} }, { schema: 'no such "schema"' }),
  prisma: () => enqueue(prisma, { ...about, tenantId: 't', payload: {} }, { schema: 'no such "schema"' }),
  postgresjs: () => enqueue(js, { ...about, tenantId: 't', payload: {} }, { schema: 'no such "schema"' }),
  drizzle: () => enqueueByDrizzle(db, { ...about, tenantId: 't', payload: {} }, { schema: 'no such "schema"' }),
})) {
  await work().catch((error: EnqueueError) => say({ type: 'misplaced', driver, code: error.code, hint: error.hint }));
}
await prisma.$disconnect();
await js.end();
await dbOnPostgresJs.$client.end();
await pool.end();
await client.end();
say({ type: 'done' });
