import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { keyRing, newId } from '@caracal/core'
import {
  type EvidenceGroup,
  openEvidenceWriter,
  openStreams,
  type SpoolEvidenceWriter,
  type Streams,
  verifyEvidence,
} from '../src/index.ts'

/**
 * What evidence costs from the decision to the hands of Audit, in processor time: that figure stands also when the machine is busy.
 * Usage: node packages/streams/bench/spool.ts <redis url> [directory]. The Redis is emptied.
 */
const [url, root = tmpdir()] = process.argv.slice(2)
if (url === undefined) throw new Error('the url of a Redis is needed')
const print = (line: string) => process.stdout.write(`${line}\n`)
const logger = { info: () => {}, warn: () => {}, error: (fields: object, message: string) => print(`${message} ${JSON.stringify(fields)}`) }

const keys = keyRing(randomBytes(32))
const streams = openStreams({ driver: 'redis', url, keys, logger })
/** The stream store is away: what is appended stays on the volume. */
const away: Streams = { ...streams, append: () => Promise.reject(new Error('away')) }
const zone = newId('zone')
const [application, session, policy] = [newId('application'), newId('session'), newId('policySetVersion')]

function open(dir: string, to: Streams): Promise<SpoolEvidenceWriter> {
  return openEvidenceWriter({ dir, service: 'gateway', keys, streams: to, mode: 'write-ahead', logger })
}

function record(writer: SpoolEvidenceWriter): Promise<string> {
  return writer.record({
    zone,
    type: 'call.allowed',
    decision: 'allow',
    actor: { application, sessions: [session] },
    resource: 'https://bank.example/api',
    operation: { method: 'GET', path: '/accounts/17/statements', template: '/accounts/{id}/statements' },
    scopes: ['accounts:read'],
    policy: { set_version: policy, rules: ['read'] },
    mandate: { jti: newId('mandate'), txn: newId('transaction'), expiry: 1_800_000_000 },
    request_id: newId('request'),
  })
}

/** Processor time of this process, and of Redis, in microseconds. */
async function spent(): Promise<{ readonly here: number; readonly kernel: number; readonly redis: number }> {
  const redis = await redisCpu()
  const { user, system } = process.cpuUsage()
  return { here: user + system, kernel: system, redis }
}

async function redisCpu(): Promise<number> {
  const { Redis } = await import('ioredis')
  const client = new Redis(url ?? '')
  const info = await client.info('cpu')
  client.disconnect()
  const at = (name: string) => Number(new RegExp(`^${name}:(\\S+)`, 'm').exec(info)?.[1] ?? 0)
  return (at('used_cpu_sys') + at('used_cpu_user')) * 1e6
}

async function measured(name: string, work: () => Promise<number>, note: () => string = () => ''): Promise<void> {
  const before = await spent()
  const began = performance.now()
  const events = await work()
  const took = (performance.now() - began) / 1_000
  const after = await spent()
  const each = (of: 'here' | 'kernel' | 'redis') => ((after[of] - before[of]) / events).toFixed(1)
  print(
    `${name.padEnd(34)} ${each('here').padStart(6)} µs here (${each('kernel').padStart(5)} of it in the kernel), ${each('redis').padStart(5)} µs in Redis; ${Math.round(events / took)}/s ${note()}`,
  )
}

async function callersFor(writer: SpoolEvidenceWriter, callers: number, count: number): Promise<number> {
  let left = count
  const one = async () => {
    while (left > 0) {
      left -= 1
      await record(writer)
    }
  }
  await Promise.all(Array.from({ length: callers }, one))
  return count
}

async function drained(writer: SpoolEvidenceWriter): Promise<void> {
  while (writer.health().unsent > 0) await new Promise((resolve) => setTimeout(resolve, 5))
}

async function inRoom(of: (dir: string) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(root, 'caracal-bench-'))
  try {
    await of(dir)
  } finally {
    rmSync(dir, { recursive: true })
  }
}

async function taken(count: number): Promise<number> {
  let events = 0
  let batches = 0
  const done = Promise.withResolvers<void>()
  const consumer = await streams.consume('caracal.audit.events', {
    group: 'audit',
    consumer: 'bench',
    batch: 1_000,
    handle: async (messages) => {
      batches += 1
      for (const { payload } of messages) {
        const verified = verifyEvidence(payload, keys)
        if (!verified.ok) throw new Error(verified.problem)
        for (const group of verified.value as readonly EvidenceGroup[]) events += group.events.length
      }
      if (events >= count) done.resolve()
      return messages.map(() => 'done')
    },
  })
  await done.promise
  await consumer.stop()
  perBatch = events / batches
  return events
}
let perBatch = 0

await inRoom(async (dir) => {
  const writer = await open(dir, away)
  await callersFor(writer, 64, 5_000)
  for (const callers of [1, 16, 64, 256]) {
    const commits = writer.health().commits
    const count = callers === 1 ? 2_000 : 30_000
    await measured(
      `made and durable, ${callers} callers`,
      () => callersFor(writer, callers, count),
      () => `(${(count / (writer.health().commits - commits)).toFixed(1)} events a sync)`,
    )
  }
  await writer.close(0)
  const { Redis } = await import('ioredis')
  const client = new Redis(url)
  await client.flushall()
  client.disconnect()
  const backlog = await open(dir, streams)
  const count = backlog.health().unsent
  await measured('sent from the volume', async () => {
    await drained(backlog)
    return count
  })
  await measured(
    'taken and verified',
    () => taken(count),
    () => `(${Math.round(perBatch)} events a batch)`,
  )
  await backlog.close(0)
})
for (const callers of [1, 16, 64]) {
  await inRoom(async (dir) => {
    const writer = await open(dir, streams)
    const count = callers === 1 ? 2_000 : 30_000
    await measured(`made, durable and sent, ${callers} callers`, async () => {
      await callersFor(writer, callers, count)
      await drained(writer)
      return count
    })
    await writer.close(0)
    await measured(
      'taken and verified',
      () => taken(count),
      () => `(${Math.round(perBatch)} events a batch)`,
    )
  })
}
await streams.close()
