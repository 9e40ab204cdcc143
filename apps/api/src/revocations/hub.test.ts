import { randomBytes } from 'node:crypto'
import { keyRing, newId } from '@caracal/core'
import { createZone, type Database, migrateUp, openDatabase, revoke } from '@caracal/postgres'
import { createLogger } from '@caracal/service'
import { openStreams, type Streams } from '@caracal/streams'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openRevocationHub, type RevocationHub } from './hub.ts'

const zone = newId('zone')
let database: Database
let streams: Streams
let hub: RevocationHub

beforeAll(async () => {
  database = await openDatabase({ memory: true })
  await migrateUp(database)
  await createZone(database.query, { id: zone, name: 'lab', labels: [] }, Date.now())
  const logger = createLogger({ name: 'test', level: 'silent' })
  streams = openStreams({ driver: 'postgres', database, keys: keyRing(randomBytes(32)), logger })
  hub = openRevocationHub({ database, streams, logger, now: Date.now })
})
afterAll(async () => {
  await hub?.close()
  await streams?.close()
  await database?.close()
})

describe('the hub', () => {
  test('while nobody beats on the stream, followers get snapshots from Postgres and no heartbeat', async () => {
    const stop = new AbortController()
    const events = hub.follow(zone, stop.signal)[Symbol.asyncIterator]()
    expect((await events.next()).value).toBe('event: snapshot\ndata: {"entries":[]}\n\n')
    const id = newId('mandate')
    const record = { id: newId('revocation'), zone, kind: 'mandate' as const, target: id, reason: 'silent', by: 'bootstrap' }
    await revoke(database.query, record, Date.now())
    let text = ''
    while (!text.includes(id)) text += (await events.next()).value
    expect(text).toContain('event: snapshot')
    expect(text).not.toContain('event: heartbeat')
    stop.abort()
    expect((await events.next()).done).toBe(true)
  })

  test('a heartbeat on the stream is a heartbeat to followers, and a message reaches those of its zone', async () => {
    const beats = streams.heartbeat('caracal.revocations')
    const stop = new AbortController()
    const events = hub.follow(zone, stop.signal)[Symbol.asyncIterator]()
    let text = ''
    while (!text.includes('event: heartbeat')) text += (await events.next()).value
    const message = { v: 1, op: 'revoke', kind: 'mandate', id: newId('mandate'), zone, at: Date.now(), reason: 'x' }
    await streams.publish('caracal.revocations', 'not a revocation')
    await streams.publish('caracal.revocations', JSON.stringify({ ...message, zone: newId('zone') }))
    await streams.publish('caracal.revocations', JSON.stringify(message))
    while (!text.includes('event: revocation')) text += (await events.next()).value
    expect(text.match(/event: revocation\ndata: (.*)/g)).toEqual([`event: revocation\ndata: ${JSON.stringify(message)}`])
    stop.abort()
    await beats.stop()
  })
})
