import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { keyRing, newId } from '@caracal/core'
import { migrateUp, openDatabase } from '@caracal/postgres'
import { openEvidenceWriter, openStreams } from '../src/index.ts'

/**
 * How much a spool takes and what it adds to a call. Usage: node packages/streams/bench/spool.ts [directory] [redis url]
 * Without a Redis the drain goes to an embedded Postgres, which shares this process.
 */
const [root = tmpdir(), redisUrl] = process.argv.slice(2)
const logger = { info: () => {}, warn: () => {}, error: (fields: object, message: string) => print(`${message} ${JSON.stringify(fields)}`) }
const print = (line: string) => process.stdout.write(`${line}\n`)

const dir = mkdtempSync(join(root, 'caracal-bench-'))
const database = redisUrl === undefined ? await openDatabase({ memory: true }) : undefined
if (database) await migrateUp(database)
const keys = keyRing(randomBytes(32))
const streams = database
  ? openStreams({ driver: 'postgres', database, keys, logger })
  : openStreams({ driver: 'redis', url: redisUrl ?? '', keys, logger })
const writer = await openEvidenceWriter({ dir, service: 'gateway', keys, streams, mode: 'write-ahead', logger })
const zone = newId('zone')

function record(): Promise<string> {
  return writer.record({
    zone,
    type: 'call.allowed',
    decision: 'allow',
    actor: { application: newId('application'), sessions: [newId('session')] },
    resource: 'https://bank.example/api',
    operation: { method: 'GET', path: '/accounts/17/statements', template: '/accounts/{id}/statements' },
    scopes: ['accounts:read'],
    policy: { set_version: newId('policySetVersion'), rules: ['read'] },
    mandate: { jti: newId('mandate'), txn: newId('transaction'), expiry: 1_800_000_000 },
    request_id: newId('request'),
  })
}

async function measure(callers: number, seconds: number): Promise<void> {
  const times: number[] = []
  const commits = writer.health().commits
  const cpu = process.cpuUsage()
  const start = performance.now()
  const end = start + seconds * 1_000
  await Promise.all(
    Array.from({ length: callers }, async () => {
      while (performance.now() < end) {
        const before = performance.now()
        await record()
        times.push(performance.now() - before)
      }
    }),
  )
  const took = (performance.now() - start) / 1_000
  const used = process.cpuUsage(cpu)
  times.sort((a, b) => a - b)
  const at = (part: number) => (times[Math.floor(times.length * part)] ?? 0).toFixed(2)
  const syncs = writer.health().commits - commits
  print(
    `${String(callers).padStart(4)} callers: ${Math.round(times.length / took)} events/s, added p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, ` +
      `${(times.length / syncs).toFixed(1)} events per sync, ${(((used.user + used.system) / 1e6 / times.length) * 1e6).toFixed(0)} µs CPU per event`,
  )
}

await measure(1, 1)
for (const callers of [1, 16, 64, 256, 1_024]) await measure(callers, 2)
print(`waiting for the stream: ${writer.health().unsent}`)
await writer.close(20_000)
await streams.close()
await database?.close()
rmSync(dir, { recursive: true })
