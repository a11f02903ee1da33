// Runs the code of docs/recipes/prisma.md: claims, releases, and claims in vain.
//
//   node prisma.js DATABASE_URL
import { claimTask } from '../docs/prisma/claim-task.js';
import { connect } from '../docs/prisma/client.js';
import { releaseTask } from '../docs/prisma/release-task.js';

const db = connect(process.argv[2] ?? '');
const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`);

say({ type: 'claimed', id: await claimTask(db, 'tenant-abc', 'task-1', 'e-1') });
await releaseTask(db, 'tenant-abc', 'task-1', 'e-1');
say({ type: 'released' });
await claimTask(db, 'tenant-abc', 'no such task', 'e-1').then(
  () => say({ type: 'claimed what is not there' }),
  () => say({ type: 'refused' }),
);
await db.$disconnect();
