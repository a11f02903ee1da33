// The application with the older table: it writes events, and its own publisher looks for pending ones as it always did.
// One JSON object with what both saw, on stdout.
import { setTimeout as sleep } from 'node:timers/promises'
import { PrismaPg } from '@prisma/adapter-pg'
import client from './client/index.js'

const prisma = new client.PrismaClient({ adapter: new PrismaPg({ connectionString: process.env.DATABASE_URL }) })
const event = (n) => ({
  tenantId: 'a', eventType: 'kitchen.task.claimed', aggregateType: 'KitchenTask', aggregateId: 'task-1', payload: { n },
})

// The old publisher; what it takes it would publish.
const taken = []
let stopped = false
async function publish() {
  while (!stopped) {
    const rows = await prisma.outboxEvent.findMany({ where: { status: 'pending' }, orderBy: { createdAt: 'asc' } })
    for (const row of rows) {
      taken.push(row.payload.n)
      await prisma.outboxEvent.update({ where: { id: row.id }, data: { status: 'published', publishedAt: new Date() } })
    }
  }
}
const publishing = publish()

const statuses = new Set()
for (let n = 1; n <= 40; n++) {
  const row = n % 2
    ? await prisma.outboxEvent.create({ data: event(n) })
    : await prisma.$transaction((tx) => tx.outboxEvent.create({ data: event(n) }))
  statuses.add(row.status)
}
await prisma.outboxEvent.createMany({ data: [event(41), event(42)] })

// Until the relay has published all; the test's patience bounds it.
let rows
do {
  await sleep(20)
  rows = await prisma.outboxEvent.findMany()
} while (!rows.every((row) => row.status === 'published' && row.publishedAt))
stopped = true
await publishing
console.log(JSON.stringify({ statuses: [...statuses], taken, rows: rows.length, ids: rows.map((row) => row.id) }))
await prisma.$disconnect()
