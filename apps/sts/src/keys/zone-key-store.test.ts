import { randomBytes } from 'node:crypto'
import { keyRing, newId } from '@caracal/core'
import { freshDatabaseUrl } from '@caracal/harness'
import { createZone, type Database, listZoneKeys, migrateUp, openDatabase } from '@caracal/postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isMaintenanceDue, maintainZoneKeys, openPepper, openSigningKey, rotateZoneKeys } from './zone-key-store.ts'

const kek = keyRing(randomBytes(32))
const MINUTE = 60_000

describe.each(['embedded', 'server'] as const)('zone keys (%s)', (kind) => {
  let database: Database
  const zone = newId('zone')
  beforeAll(async () => {
    database = await openDatabase(kind === 'embedded' ? { memory: true } : { url: await freshDatabaseUrl() })
    await migrateUp(database, { app: 'test' })
    await createZone(database.query, { id: zone, name: 'keys', labels: [] }, 0)
  })
  afterAll(() => database?.close())

  it('are made once, however many replicas begin at once', async () => {
    await Promise.all([1, 2, 3].map(() => maintainZoneKeys(database, kek, zone, 0)))
    const keys = await listZoneKeys(database.query, zone)
    expect(keys.map(({ kind, state }) => `${kind} ${state}`).sort()).toEqual(['pepper current', 'signing current', 'signing next'])
    expect(isMaintenanceDue(keys, 0)).toBe(false)
    expect(isMaintenanceDue([], 0)).toBe(true)
  })

  it('[P-082] open only with the key-encryption key and where they stand', async () => {
    const keys = await listZoneKeys(database.query, zone)
    const current = keys.find((key) => key.kind === 'signing' && key.state === 'current')
    const next = keys.find((key) => key.kind === 'signing' && key.state === 'next')
    const pepper = keys.find((key) => key.kind === 'pepper')
    if (current === undefined || next === undefined || pepper === undefined) throw new Error('keys are missing')
    expect(openPepper(kek, pepper)).toHaveLength(32)
    expect(openSigningKey(kek, current).asymmetricKeyType).toBe('ec')
    expect(() => openSigningKey(keyRing(randomBytes(32)), current)).toThrow(/does not open/)
    expect(() => openSigningKey(kek, { ...current, sealed: next.sealed })).toThrow(/does not open/)
    expect(() => openSigningKey(kek, { ...current, zone: newId('zone') })).toThrow(/does not open/)
  })

  it('[P-011] turn when the next one was published for ten minutes, and tell every replica', async () => {
    const before = await database.query.selectFrom('zones').select('config_version').where('id', '=', zone).executeTakeFirstOrThrow()
    const asked = await rotateZoneKeys(database, kek, zone, MINUTE)
    expect([asked.promoted, asked.signsAt]).toEqual([false, 10 * MINUTE])
    expect((await maintainZoneKeys(database, kek, zone, 10 * MINUTE - 1)).changed).toBe(false)
    expect(await maintainZoneKeys(database, kek, zone, 10 * MINUTE)).toEqual({ changed: true, promoted: true })
    const keys = await listZoneKeys(database.query, zone, 'signing')
    expect(keys.find((key) => key.state === 'current')?.kid).toBe(asked.kid)
    expect(keys.map((key) => key.state).sort()).toEqual(['current', 'next', 'previous'])
    const after = await database.query.selectFrom('zones').select('config_version').where('id', '=', zone).executeTakeFirstOrThrow()
    expect(after.config_version).toBe(before.config_version + 1)
    const sent = await database.query.selectFrom('outbox').select(['stream', 'payload']).where('aggregate', '=', zone).execute()
    expect(JSON.parse(sent.at(-1)?.payload ?? '')).toMatchObject({ v: 1, zone, version: after.config_version })
    expect(sent.every((row) => row.stream === 'caracal.config')).toBe(true)
    await maintainZoneKeys(database, kek, zone, 27 * MINUTE)
    expect((await listZoneKeys(database.query, zone, 'signing')).map((key) => key.state).sort()).toEqual(['current', 'next'])
  })
})
