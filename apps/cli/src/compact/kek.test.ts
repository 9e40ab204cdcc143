import { randomBytes } from 'node:crypto'
import { freshDatabaseUrl } from '@caracal/harness'
import { type Database, migrateUp, openDatabase, readSetting } from '@caracal/postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { adoptKek, internalKey, type KekHolder, KekMismatch, openKek } from './kek.ts'

const password = (secret = randomBytes(24).toString('base64')): KekHolder => ({ by: 'password', secret })
const zoneKek = (secret = randomBytes(32)): KekHolder => ({ by: 'zone-kek', secret })

let database: Database
beforeAll(async () => {
  database = await openDatabase({ url: await freshDatabaseUrl() })
  await migrateUp(database)
})
beforeEach(async () => {
  await database.query.deleteFrom('settings').execute()
})
afterAll(() => database.close())

describe('the key of an installation', () => {
  test.each([
    ['the password', password()],
    ['ZONE_KEK', zoneKek()],
  ])('made at first use by any number of processes at once, %s opens it ever after', async (_, holder) => {
    const [first, ...more] = await Promise.all(Array.from({ length: 5 }, () => openKek(database, holder)))
    for (const kek of more) expect(kek).toEqual(first)
    expect(await openKek(database, holder)).toEqual(first)
  })

  test('behind a password it is random, and nothing of either stands in the database', async () => {
    const holder = password()
    const kek = Buffer.from(await openKek(database, holder))
    const stored = JSON.stringify(await readSetting(database.query, 'compact.kek'))
    for (const secret of [holder.secret, kek.toString('hex'), kek.toString('base64'), kek.toString('base64url')])
      expect(stored).not.toContain(secret)
    await database.query.deleteFrom('settings').execute()
    expect(Buffer.from(await openKek(database, holder))).not.toEqual(kek)
  })

  test('ZONE_KEK is the key itself: what the chart sealed with it opens here', async () => {
    const secret = randomBytes(32)
    expect(Buffer.from(await openKek(database, zoneKek(secret)))).toEqual(secret)
  })

  test.each([
    ['another password', password('the first one of all'), password('the second one')],
    ['another ZONE_KEK', zoneKek(), zoneKek()],
    ['a ZONE_KEK in the place of a password', password(), zoneKek()],
    ['a password in the place of a ZONE_KEK', zoneKek(), password()],
  ])('%s is refused until it was adopted; the key stays', async (_, former, now) => {
    const kek = await openKek(database, former)
    await expect(openKek(database, now)).rejects.toThrow(KekMismatch)
    await expect(adoptKek(database, undefined, now)).rejects.toThrow(KekMismatch)
    await expect(adoptKek(database, password('neither of them'), now)).rejects.toThrow(KekMismatch)
    expect(await adoptKek(database, former, now)).toBe(true)
    expect(await openKek(database, now)).toEqual(kek)
    await expect(openKek(database, former)).rejects.toThrow(KekMismatch)
    expect(await adoptKek(database, former, now)).toBe(false)
  })

  test('there is nothing to adopt before the first use', async () => {
    await expect(adoptKek(database, password(), password())).rejects.toThrow('nothing is sealed')
  })

  test('keys between roles are its own, each another, and the same wherever it is opened', async () => {
    const holder = password()
    const names = ['AUDIT_HMAC_KEY', 'STREAMS_HMAC_KEY', 'GATEWAY_STS_HMAC_KEY'] as const
    const keys = async () => {
      const kek = await openKek(database, holder)
      return names.map((name) => internalKey(kek, name))
    }
    const first = await keys()
    expect(new Set([...first, Buffer.from(await openKek(database, holder)).toString('hex')]).size).toBe(4)
    expect(await keys()).toEqual(first)
  })
})
