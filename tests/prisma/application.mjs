// The application: writes events through Prisma's client in its own transactions, and reads them back.
// One JSON object with what it saw, on stdout.
import { PrismaPg } from '@prisma/adapter-pg'
import client from '@prisma/client'

const prisma = new client.PrismaClient({ adapter: new PrismaPg({ connectionString: process.env.DATABASE_URL }) })
const event = (n, tenantId = 'a') => ({
  tenantId, eventType: 'kitchen.task.claimed', aggregateType: 'KitchenTask', aggregateId: 'task-1',
  payload: { n, taskId: 't', employeeId: 'e', claimedAt: '2026-01-23T10:30:00.000Z' },
})

const created = await prisma.outboxEvent.create({ data: event(1) })
await prisma.$transaction(async (tx) => {
  await tx.outboxEvent.create({ data: event(2) })
  await tx.outboxEvent.createMany({ data: [event(3), event(4)] })
})
await prisma.$transaction(async (tx) => {
  await tx.outboxEvent.create({ data: event(99) })
  throw new Error('rolled back')
}).catch((error) => { if (error.message !== 'rolled back') throw error })
await prisma.$executeRaw`select outbox.enqueue(tenant_id => ${'a'}, event_type => ${'kitchen.task.claimed'},
  payload => ${JSON.stringify({ n: 5 })}::jsonb, aggregate_type => ${'KitchenTask'}, aggregate_id => ${'task-1'})`
const rows = await prisma.outboxEvent.findMany({ orderBy: { createdAt: 'asc' } })
const pending = await prisma.outboxEvent.count({ where: { status: 'pending' } })
console.log(JSON.stringify({ created: created.status, statuses: rows.map((row) => row.status), pending }))
await prisma.$disconnect()
