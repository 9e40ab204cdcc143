import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { ConfigurationError, type ConfigurationProblem, defineConfiguration, serviceSettings, setting } from '../index.ts'

const KEY = randomBytes(32).toString('hex')
const OTHER_KEY = randomBytes(32).toString('hex')
const files: Record<string, string> = { '/key': `${KEY}\n`, '/empty': '\n', '/url': 'postgres://u:pass%21word@h/db' }
const readFile = (path: string): string => {
  const text = files[path]
  if (text === undefined) throw new Error('ENOENT')
  return text
}

const configuration = defineConfiguration(
  {
    ...serviceSettings(3000),
    DATABASE_URL: setting.url({
      meaning: 'Where Postgres is.',
      schemes: ['postgres', 'postgresql'],
      credentials: true,
      secret: true,
      optional: true,
    }),
    ISSUER_URL: setting.url({ meaning: 'Issuer.', default: 'http://localhost:8080' }),
    ZONE_KEK: setting.key({ meaning: 'Key.' }),
    ADMIN_TOKEN: setting.secret({ meaning: 'Token.', optional: true }),
    POOL: setting.integer({ meaning: 'Pool.', min: 1, max: 100, default: 10 }),
    AGE: setting.duration({ meaning: 'Age.', min: 1_000, max: 60_000, default: 2_000 }),
    FLAG: setting.boolean({ meaning: 'Flag.', default: false }),
    NAMES: setting.list({ meaning: 'Names.', default: [], item: /^[a-z]+$/ }),
  },
  (values) => (values.CARACAL_MODE === 'stable' && values.FLAG ? [{ name: 'FLAG', rule: 'must be false in stable' }] : []),
)

function problems(environment: Record<string, string>): readonly ConfigurationProblem[] {
  try {
    configuration.parse({ ZONE_KEK: KEY, ...environment }, { readFile })
    return []
  } catch (error) {
    if (error instanceof ConfigurationError) return error.problems
    throw error
  }
}

describe('configuration', () => {
  it('gives typed values and defaults; unset mode is stable', () => {
    const values = configuration.parse(
      { ZONE_KEK_FILE: '/key', ZONE_KEK_PREVIOUS: OTHER_KEY, AGE: '5s', NAMES: 'a, b', DATABASE_URL_FILE: '/url' },
      { readFile },
    )
    expect(values.CARACAL_MODE).toBe('stable')
    expect(values.PORT).toBe(3000)
    expect(values.AGE).toBe(5_000)
    expect(values.NAMES).toEqual(['a', 'b'])
    expect(Buffer.from(values.ZONE_KEK.current.bytes).toString('hex')).toBe(KEY)
    expect(Buffer.from(values.ZONE_KEK.previous?.bytes ?? []).toString('hex')).toBe(OTHER_KEY)
    expect(values.ADMIN_TOKEN).toBeUndefined()
    expect(values.DATABASE_URL).toBe('postgres://u:pass%21word@h/db')
  })

  it.each([
    ['port too large', { PORT: '65536' }, 'PORT', 'must be between 0 and 65535'],
    ['port in words', { PORT: 'http' }, 'PORT', 'must be a whole number'],
    ['number with unit', { POOL: '10x' }, 'POOL', 'must be a whole number'],
    ['out of range', { POOL: '101' }, 'POOL', 'must be between 1 and 100'],
    ['hexadecimal', { POOL: '0x10' }, 'POOL', 'must be a whole number'],
    ['duration without unit', { AGE: '10' }, 'AGE', 'must be a number with its unit: ms, s, m, h or d, e.g. 10s'],
    ['duration out of range', { AGE: '2m' }, 'AGE', 'must be between 1s and 1m'],
    ['boolean in other words', { FLAG: 'yes' }, 'FLAG', 'must be true or false'],
    ['empty list item', { NAMES: 'a,,b' }, 'NAMES', 'has an empty item'],
    ['list item', { NAMES: 'a,B' }, 'NAMES', 'each item must match ^[a-z]+$'],
    ['not a URL', { ISSUER_URL: 'localhost:8080' }, 'ISSUER_URL', 'must be a URL with http:// or https://'],
    ['URL with password', { ISSUER_URL: 'http://u:p@h' }, 'ISSUER_URL', 'must not carry a user or password'],
    ['level', { LOG_LEVEL: 'loud' }, 'LOG_LEVEL', 'must be one of trace, debug, info, warn, error, fatal, silent'],
    ['mode', { CARACAL_MODE: 'prod' }, 'CARACAL_MODE', 'must be one of dev, rc, stable'],
    ['key that is no hex', { ZONE_KEK: 'xyz' }, 'ZONE_KEK', 'must be 64 hex digits (32 bytes)'],
    ['short key', { ZONE_KEK: 'abcd' }, 'ZONE_KEK', 'is 2 bytes long, 32 are needed: make one with `openssl rand -hex 32`'],
    ['same key twice', { ZONE_KEK_PREVIOUS: KEY }, 'ZONE_KEK_PREVIOUS', 'equals ZONE_KEK'],
    ['zero key', { ZONE_KEK: '00'.repeat(32) }, 'ZONE_KEK', expect.stringContaining('make one with `openssl rand -hex 32`')],
    [
      'counting key',
      { ZONE_KEK: Buffer.from(Array.from({ length: 32 }, (_, i) => i)).toString('hex') },
      'ZONE_KEK',
      expect.stringContaining('make one with `openssl rand -hex 32`'),
    ],
    [
      'text key',
      { ZONE_KEK: Buffer.from('correct horse battery staple 123').toString('hex') },
      'ZONE_KEK',
      expect.stringContaining('make one with `openssl rand -hex 32`'),
    ],
    [
      'weak previous key',
      { ZONE_KEK_PREVIOUS: 'ab'.repeat(32) },
      'ZONE_KEK_PREVIOUS',
      expect.stringContaining('make one with `openssl rand -hex 32`'),
    ],
    ['placeholder', { ADMIN_TOKEN: 'change-me-to-something-long' }, 'ADMIN_TOKEN', 'is a placeholder: put a real value there'],
    ['short secret', { ADMIN_TOKEN: 'k3j4h5k3j4h5' }, 'ADMIN_TOKEN', 'must have at least 20 characters'],
    [
      'previous without current',
      { ADMIN_TOKEN_PREVIOUS: 'k3j4h5k3j4h5k3j4h5kk' },
      'ADMIN_TOKEN',
      'is missing while ADMIN_TOKEN_PREVIOUS is set',
    ],
    [
      'both spellings',
      { ADMIN_TOKEN: 'k3j4h5k3j4h5k3j4h5kk', ADMIN_TOKEN_FILE: '/key' },
      'ADMIN_TOKEN',
      'and ADMIN_TOKEN_FILE are both set',
    ],
    ['unreadable file', { ADMIN_TOKEN_FILE: '/nowhere' }, 'ADMIN_TOKEN_FILE', 'cannot be read'],
    ['empty file', { ADMIN_TOKEN_FILE: '/empty' }, 'ADMIN_TOKEN_FILE', 'is an empty file'],
    ['empty file name', { ADMIN_TOKEN_FILE: '' }, 'ADMIN_TOKEN_FILE', 'is empty'],
    ['unknown name', { CARACAL_PROT: '1' }, 'CARACAL_PROT', 'is not a setting of this role'],
    ['rule over several', { FLAG: 'true' }, 'FLAG', 'must be false in stable'],
  ])('[P-143] refuses a %s', (_name, environment, name, rule) => {
    expect(problems(environment)).toEqual([{ name, rule }])
  })

  it('[P-143] names everything that is wrong at once, and no value', () => {
    const found = problems({ PORT: 'sesame', AGE: 'sesame', CARACAL_SESAM: 'sesame', ZONE_KEK: 'sesame', ADMIN_TOKEN: 'sesame' })
    expect(found.map((one) => one.name).sort()).toEqual(['ADMIN_TOKEN', 'AGE', 'CARACAL_SESAM', 'PORT', 'ZONE_KEK'])
    expect(JSON.stringify(found)).not.toContain('sesame')
    expect(() => configuration.parse({})).toThrow('ZONE_KEK is required (32 bytes as hex)')
  })

  it('[P-143] is neither set nor broken by Kubernetes service links', () => {
    const links = {
      CARACAL_STS_PORT: 'tcp://10.0.0.1:8080',
      CARACAL_STS_PORT_8080_TCP: 'tcp://10.0.0.1:8080',
      CARACAL_STS_PORT_8080_TCP_PROTO: 'tcp',
      CARACAL_STS_PORT_8080_TCP_PORT: '8080',
      CARACAL_STS_PORT_8080_TCP_ADDR: '10.0.0.1',
      CARACAL_STS_SERVICE_HOST: '10.0.0.1',
      CARACAL_STS_SERVICE_PORT: '8080',
      CARACAL_STS_SERVICE_PORT_HTTP: '8080',
      METRICS_PORT: 'tcp://10.0.0.2:9464',
    }
    expect(problems(links)).toEqual([])
    expect(configuration.parse({ ZONE_KEK: KEY, ...links }).METRICS_PORT).toBe(9464)
    expect(problems({ CARACAL_STS_PORT: '8080' })).toHaveLength(1)
  })

  it('describes itself for the reference page and lists its secrets for the logger', () => {
    const described = configuration.describe()
    expect(described[0]).toMatchObject({ name: 'CARACAL_MODE', default: 'stable', secret: false })
    expect(described.find((one) => one.name === 'ZONE_KEK')).toMatchObject({
      required: true,
      secret: true,
      rotates: true,
      type: '32 bytes as hex',
    })
    expect(described.find((one) => one.name === 'AGE')).toMatchObject({ default: '2s' })
    expect(configuration.secrets({ ZONE_KEK_FILE: '/key', DATABASE_URL_FILE: '/url' }, { readFile })).toEqual([
      'postgres://u:pass%21word@h/db',
      'pass%21word',
      'pass!word',
      KEY,
    ])
  })
})

describe('a file that is not there', () => {
  const absent = () => {
    throw Object.assign(new Error('ENOENT'), { code: 'ENOENT' })
  }
  const own = defineConfiguration({
    STS_ADMIN_TOKEN: setting.secret({ meaning: 'Adds routes.', optional: true, fileMayBeAbsent: true }),
    METRICS_BEARER: setting.secret({ meaning: 'Protects.', optional: true }),
  })

  it('[2-09] is no value where it would only add routes, and a fault where it would protect something', () => {
    expect(own.parse({ STS_ADMIN_TOKEN_FILE: '/absent' }, { readFile: absent }).STS_ADMIN_TOKEN).toBeUndefined()
    expect(() => own.parse({ METRICS_BEARER_FILE: '/absent' }, { readFile: absent })).toThrow('METRICS_BEARER_FILE cannot be read')
  })
})
