// Runs the code of docs/recipes/pg.md: claims, releases, and claims in vain.
//
//   node pg.js DATABASE_URL
import pg from 'pg';
import { claimTask } from '../docs/pg/claim-task.js';
import { releaseTask } from '../docs/pg/release-task.js';

const db = new pg.Pool({ connectionString: process.argv[2], max: 1 });
const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`);

say({ type: 'claimed', id: await claimTask(db, 'tenant-abc', 'task-1', 'e-1') });
await releaseTask(db, 'tenant-abc', 'task-1', 'e-1');
say({ type: 'released' });
// The tenant is refused by the database, after the update: which must be undone.
await claimTask(db, 'a:b', 'task-1', 'e-2').then(
  () => say({ type: 'claimed for no tenant' }),
  () => undefined,
);
const { rows } = await db.query('select from tasks where employee_id is not null');
if (rows.length > 0) throw new Error('half a transaction was committed');
await claimTask(db, 'tenant-abc', 'no such task', 'e-1').then(
  () => say({ type: 'claimed what is not there' }),
  () => say({ type: 'refused' }),
);
await db.end();
