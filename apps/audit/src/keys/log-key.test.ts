import { randomBytes } from 'node:crypto'
import { type ConfigMessage, keyRing, newId } from '@caracal/core'
import { listZoneKeys } from '@caracal/postgres'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { KINDS, openWorld, until, type World } from '../test-support/world.ts'
import { logVerifiers, openZoneLog } from './log-key.ts'

describe.each(KINDS)('the log key of a zone (%s)', (kind) => {
  let world: World
  beforeAll(async () => {
    world = await openWorld(kind)
  })
  afterAll(() => world?.close())
  const settings = () => ({ kek: world.config.ZONE_KEK, issuerUrl: world.config.ISSUER_URL })
  const keysOf = (zone: `zon_${string}`) => listZoneKeys(world.database.query, zone, 'log')

  test('[P-100] any number of replicas that first see a zone at once make one key, and all sign with it', async () => {
    const zone = (await world.zone()).id
    const signers = await Promise.all(Array.from({ length: 8 }, () => openZoneLog(world.database, settings(), zone, Date.now())))
    expect(await keysOf(zone)).toHaveLength(1)
    expect(new Set(signers.map((signer) => signer?.id)).size).toBe(1)
    const verifiers = await logVerifiers(world.database.query, settings(), zone)
    expect(verifiers.map(({ name, id }) => ({ name, id }))).toEqual([{ name: `sts.example.com/zones/${zone}`, id: signers[0]?.id }])
  })

  test('[P-082] the private half stands sealed, for this zone and this row: another KEK and another zone do not open it', async () => {
    const zone = (await world.zone()).id
    const other = (await world.zone()).id
    await openZoneLog(world.database, settings(), zone, Date.now())
    const [key] = await keysOf(zone)
    expect(key?.sealed).toMatch(/^csv1\./)
    expect(key?.publicJwk).toMatchObject({ kty: 'OKP', crv: 'Ed25519', alg: 'EdDSA' })
    expect(key?.publicJwk).not.toHaveProperty('d')
    const foreign = { ...settings(), kek: keyRing(randomBytes(32)) }
    await expect(openZoneLog(world.database, foreign, zone, Date.now())).rejects.toThrow(/does not open: unknown_key/)
    await world.database.query
      .insertInto('zone_keys')
      .columns(['zone', 'kind', 'kid', 'state', 'public_jwk', 'sealed', 'created_at', 'activates_at'])
      .expression((eb) =>
        eb
          .selectFrom('zone_keys')
          .select((one) => [one.val(other).as('zone'), 'kind', 'kid', 'state', 'public_jwk', 'sealed', 'created_at', 'activates_at'])
          .where('zone', '=', zone)
          .where('kind', '=', 'log'),
      )
      .execute()
    await expect(openZoneLog(world.database, settings(), other, Date.now())).rejects.toThrow(/does not open: not_authentic/)
  })

  test('there is no log without a zone', async () => {
    expect(await openZoneLog(world.database, settings(), newId('zone'), Date.now())).toBeUndefined()
  })

  test('a zone that was just made has its log, its key and its first checkpoint before anything happened in it', async () => {
    const zone = (await world.zone()).id
    const message: ConfigMessage = { v: 1, zone, entity: 'zone', id: zone, version: 1 }
    await world.streams.publish('caracal.config', JSON.stringify(message))
    await until(5_000, async () => (await keysOf(zone)).length === 1, 'the key')
    const checkpoint = await (await world.get(`/v1/zones/${zone}/log/checkpoint`)).text()
    expect(checkpoint.split('\n').slice(0, 2)).toEqual([`sts.example.com/zones/${zone}`, '0'])
  })
})
