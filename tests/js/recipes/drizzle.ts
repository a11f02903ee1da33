// Runs the code of docs/recipes/drizzle.md: claims, releases, and claims in vain.
//
//   node drizzle.js DATABASE_URL
import { drizzle } from 'drizzle-orm/node-postgres';
import pg from 'pg';
import { claimTask } from '../docs/drizzle/claim-task.js';
import { releaseTask } from '../docs/drizzle/release-task.js';

const pool = new pg.Pool({ connectionString: process.argv[2] });
const db = drizzle(pool);
const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`);

say({ type: 'claimed', id: await claimTask(db, 'tenant-abc', 'task-1', 'e-1') });
await releaseTask(db, 'tenant-abc', 'task-1', 'e-1');
say({ type: 'released' });
await claimTask(db, 'tenant-abc', 'no such task', 'e-1').then(
  () => say({ type: 'claimed what is not there' }),
  () => say({ type: 'refused' }),
);
await pool.end();
