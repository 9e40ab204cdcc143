import { keyRing, newId } from '@caracal/core'
import { openDatabase } from '@caracal/postgres'
import { openStreams } from '../open-streams.ts'
import { openWriteThrough } from '../write-through/write-through-evidence-writer.ts'

/** Records into the database named as argument and writes the id of every event that became durable. */
const logger = { info: () => {}, warn: () => {}, error: () => {} }
const [, , url = '', key = ''] = process.argv
const keys = keyRing(Buffer.from(key, 'hex'))
const database = await openDatabase({ url })
const streams = openStreams({ driver: 'postgres', database, keys, logger })
const writer = openWriteThrough({ service: 'gateway', keys, streams, logger })
const zone = newId('zone')
for (;;) {
  const recorded = Array.from({ length: 20 }, () => writer.record({ zone, type: 'call.allowed', decision: 'allow' }))
  for (const id of await Promise.all(recorded)) process.stdout.write(`${id}\n`)
}
