// Prisma's schema engine in its JavaScript build, on the adapter for pg: the other build is a download.
// Experimental in this version, and two things have to be mended for it here.
import { defineConfig } from 'prisma/config'
import { PrismaPg } from '@prisma/adapter-pg'

// A command's time limits outlive its work, as do its idle connections, and its process would wait for them: 10 s or
// a minute each.
const { setTimeout } = globalThis
globalThis.setTimeout = ((work: () => void, ms?: number, ...args: []) => {
  const timer = setTimeout(work, ms, ...args)
  return (ms ?? 0) >= 5_000 ? timer.unref() : timer
}) as typeof setTimeout

// Types of the catalogue that the adapter cannot read, and what to read them as: char, name, int2vector, pg_node_tree.
const READ_AS: Record<number, number> = { 18: 1042, 19: 25, 22: 25, 194: 25 }

function mended(adapter: any) {
  const query = adapter.client.query.bind(adapter.client)
  adapter.client.query = async (...args: any[]) => {
    const result = await query(...args)
    for (const field of result.fields ?? []) field.dataTypeID = READ_AS[field.dataTypeID] ?? field.dataTypeID
    return result
  }
  // Its own takes a script apart at every semicolon, also inside functions; and it drops the shadow database
  // while it is still connected to it.
  adapter.executeScript = async (script: string) => {
    await query(script.replace(/^(DROP DATABASE "[^"]+")$/, '$1 WITH (FORCE)'))
  }
  adapter.client.on('error', () => {})
  return adapter
}

class Adapter extends PrismaPg {
  async connect() { return mended(await super.connect()) }
  async connectToShadowDb() { return mended(await super.connectToShadowDb()) }
}

// Apart, and not as one string: that would win over the name of the shadow database.
const url = new URL(process.env.DATABASE_URL!)
const config = {
  host: url.hostname,
  port: Number(url.port),
  user: decodeURIComponent(url.username),
  password: decodeURIComponent(url.password),
  database: url.pathname.slice(1),
  allowExitOnIdle: true,
}

export default defineConfig({
  experimental: { adapter: true },
  engine: 'js',
  schema: process.env.PRISMA_SCHEMA,
  migrations: { path: process.env.PRISMA_MIGRATIONS },
  adapter: async () => new Adapter(config),
})
