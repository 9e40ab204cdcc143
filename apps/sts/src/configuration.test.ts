import { randomBytes } from 'node:crypto'
import { freshDatabaseUrl } from '@caracal/harness'
import { migrateUp, openDatabase, readSetting } from '@caracal/postgres'
import { ConfigurationError, createLogger } from '@caracal/service'
import { describe, expect, it } from 'vitest'
import { stsConfiguration } from './configuration.ts'
import { pinIssuer } from './keys/pin-issuer.ts'

const key = () => randomBytes(32).toString('hex')
const GOOD = {
  STREAMS_HMAC_KEY: key(),
  AUDIT_HMAC_KEY: key(),
  GATEWAY_STS_HMAC_KEY: key(),
  ZONE_KEK: key(),
  ISSUER_URL: 'https://sts.caracal.run',
}

function problems(environment: Record<string, string>): readonly string[] {
  try {
    stsConfiguration.parse({ ...GOOD, ...environment })
    return []
  } catch (error) {
    if (error instanceof ConfigurationError) return error.problems.map(({ name, rule }) => `${name} ${rule}`)
    throw error
  }
}

describe('[4-17] charges', () => {
  it.each<[Record<string, string>, string[]]>([
    [
      { PROVISIONAL_CHARGE_EXPIRATION: '10m', PROVISIONAL_CHARGE_MAX: '5m' },
      ['PROVISIONAL_CHARGE_MAX must not be less than PROVISIONAL_CHARGE_EXPIRATION'],
    ],
    [{ PROVISIONAL_CHARGE_SWEEP_BATCH: '0' }, ['PROVISIONAL_CHARGE_SWEEP_BATCH must be between 1 and 10000']],
    [
      { PROVISIONAL_CHARGE_SWEEP_INTERVAL: '60' },
      ['PROVISIONAL_CHARGE_SWEEP_INTERVAL must be a number with its unit: ms, s, m, h or d, e.g. 10s'],
    ],
  ])('%j is refused', (environment, expected) => {
    expect(problems(environment)).toEqual(expected)
  })
})

describe('[P-021] the issuer', () => {
  it.each([
    [{}, []],
    [{ ISSUER_URL: 'http://sts.caracal.run' }, ['ISSUER_URL must be https in stable']],
    [{ ISSUER_URL: 'https://sts.example.com' }, ['ISSUER_URL must not be an example host in stable']],
    [{ ISSUER_URL: 'https://a.invalid' }, ['ISSUER_URL must not be an example host in stable']],
    [{ ISSUER_URL: 'https://sts.caracal.run?x=1' }, ['ISSUER_URL must not have a query']],
    [{ ISSUER_URL: 'http://localhost:8080', CARACAL_MODE: 'dev' }, []],
    [{ EVIDENCE: 'async' }, ['EVIDENCE may be async in dev only']],
  ])('of %j gives %j', (environment, expected) => {
    expect(problems(environment)).toEqual(expected)
  })

  it('moves only with its former URL among the aliases', async () => {
    const database = await openDatabase({ url: await freshDatabaseUrl() })
    await migrateUp(database, { app: 'test' })
    const logger = createLogger({ name: 'sts', level: 'silent' })
    const pin = (ISSUER_URL: string, ISSUER_ALIASES: string[] = [], CARACAL_MODE: 'dev' | 'stable' = 'stable') =>
      pinIssuer(database, { ISSUER_URL, ISSUER_ALIASES, CARACAL_MODE }, 0, logger)
    await pin('https://a.run')
    await pin('https://a.run')
    await expect(pin('https://b.run')).rejects.toThrow(/ISSUER_ALIASES/)
    await expect(pin('https://b.run', ['https://c.run'])).rejects.toThrow(/ISSUER_ALIASES/)
    await pin('https://b.run', ['https://a.run'])
    expect(await readSetting(database.query, 'issuer')).toBe('https://b.run')
    await pin('https://d.run', [], 'dev')
    await database.close()
  })
})
