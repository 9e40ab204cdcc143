import { randomBytes } from 'node:crypto'
import { keyRing, newId } from '@caracal/core'
import { freshDatabaseUrl } from '@caracal/harness'
import { createZone, type Database, loadZoneConfiguration, migrateUp, openDatabase } from '@caracal/postgres'
import { createLogger } from '@caracal/service'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readZone } from './read-zone.ts'
import { openZones } from './zones.ts'

const kek = keyRing(randomBytes(32))
const NOW = Date.UTC(2026, 0, 2)

/** How a replica reads its zones, and what it says of their keys meanwhile. */
function reading(ring = kek) {
  const said: string[] = []
  const logger = createLogger({ name: 'sts', level: 'error', write: (line) => said.push(line) })
  return { said, kek: ring, issuerUrl: 'https://sts.example', issuerAliases: [], logger }
}

describe('a start beside many zones', () => {
  let owner: Database
  let database: Database
  const start = (ring = kek) => openZones({ ...reading(ring), database, clock: () => NOW })

  const addZones = async (count: number) => {
    for (let made = 0; made < count; made += 1) {
      const id = newId('zone')
      await createZone(owner.query, { id, name: id, labels: [] }, NOW)
    }
    await start().check() // whoever starts first makes their keys
  }
  beforeAll(async () => {
    owner = await openDatabase({ url: await freshDatabaseUrl() })
    await migrateUp(owner, { app: 'test' })
    database = owner.as('sts')
    await addZones(20)
  })
  afterAll(() => owner?.close())

  it('[P-170] asks Postgres as often for many zones as for few', async () => {
    const cost = async () => {
      const before = owner.statements()
      const zones = start()
      await zones.check()
      return { zones: zones.all().length, statements: owner.statements() - before }
    }
    const few = await cost()
    await addZones(30)
    const many = await cost()
    expect([few.zones, many.zones]).toEqual([20, 50])
    expect(many.statements).toBe(few.statements)
  })

  it('[P-170] opens a key when it is first needed and then keeps it; one that does not open signs nothing and is said once', async () => {
    const [configuration] = await loadZoneConfiguration(database.query)
    if (configuration === undefined) throw new Error('there is no zone')
    const wrong = reading(keyRing(randomBytes(32)))
    const state = readZone(configuration, wrong, undefined)
    expect(wrong.said).toEqual([])
    expect([state.signer, state.pepper, state.signer, state.pepper]).toEqual([undefined, undefined, undefined, undefined])
    expect(wrong.said).toHaveLength(2)

    const right = reading()
    const next = readZone(configuration, right, state)
    expect(next.signer?.kid).toBe(configuration.keys.find((key) => key.kind === 'signing' && key.state === 'current')?.kid)
    expect(next.pepper).toHaveLength(32)
    const later = readZone({ ...configuration, version: configuration.version + 1 }, right, next)
    expect([later.signer === next.signer, later.pepper === next.pepper]).toEqual([true, true])
    expect(right.said).toEqual([])
  })

  it('says which keys do not open although nobody has needed them', async () => {
    const wrong = reading(keyRing(randomBytes(32)))
    await openZones({ ...wrong, database, clock: () => NOW }).check()
    await expect.poll(() => wrong.said.length, { timeout: 60_000 }).toBe(100)
  })
})
