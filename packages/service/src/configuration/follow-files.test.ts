import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { deriveRing, findKey } from '@caracal/core'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createLogger, createMetrics, defineConfiguration, followFiles, secretsOf, setting, validNow } from '../index.ts'

const hex = () => randomBytes(32).toString('hex')
const token = () => `cat_${randomBytes(32).toString('base64url')}`

const configuration = defineConfiguration({
  KEY: setting.key({ meaning: 'Authenticates.' }),
  KEK: setting.key({ meaning: 'Seals.', seals: true }),
  TOKEN: setting.secret({ meaning: 'Lets in.', optional: true }),
  LOGIN: setting.url({ meaning: 'A store.', schemes: ['redis'], credentials: true, secret: true, optional: true }),
  NAME: setting.string({ meaning: 'Counts from the start.', optional: true }),
})

let folder = ''
let now = 0
let logged: Record<string, unknown>[] = []
let values: Record<'KEY' | 'KEK' | 'TOKEN', string>
const file = (name: string) => join(folder, name)
const write = (name: string, text: string) => writeFileSync(file(name), text)
/** As an editor or an operator's tool replaces a file. */
const replace = (name: string, text: string) => {
  writeFileSync(file(`${name}.new`), text)
  renameSync(file(`${name}.new`), file(name))
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'caracal-files-'))
  now = 0
  logged = []
  values = { KEY: hex(), KEK: hex(), TOKEN: token() }
  for (const [name, text] of Object.entries(values)) write(name, `${text}\n`)
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

function open(more: Record<string, string> = {}, take: Record<string, (value: string) => void | Promise<void>> = {}) {
  const config = configuration.parse({ KEY_FILE: file('KEY'), KEK_FILE: file('KEK'), TOKEN_FILE: file('TOKEN'), ...more })
  const metrics = createMetrics({ service: 'test', version: '0', mode: 'dev' })
  const logger = createLogger({
    name: 'test',
    level: 'info',
    secrets: () => secretsOf(config),
    write: (line) => void logged.push(JSON.parse(line)),
  })
  const follower = followFiles(config, { logger, metrics, take, everyMs: 0, now: () => now })
  /** A change is taken at the second look that finds it. */
  const look = async () => {
    await follower.look()
    await follower.look()
  }
  const refused = async () => Number(/^caracal_settings_refused (\d+)$/m.exec((await metrics.text()).body)?.[1])
  return { config, look, once: follower.look, refused, logger }
}

const bytes = (key: { readonly bytes: Uint8Array } | null | undefined) => (key ? Buffer.from(key.bytes).toString('hex') : undefined)

describe('what a file gives follows the file [P-144]', () => {
  test('a key that is replaced makes everything new and still reads what the old one made, through rings derived from it before', async () => {
    const { config, look } = open()
    const old = config.KEY.current.id
    const next = hex()
    replace('KEY', next)
    await look()
    expect(bytes(config.KEY.current)).toBe(next)
    expect(bytes(findKey(config.KEY, old))).toBe(values.KEY)
    expect(deriveRing(config.KEY, 'sts').current.id).toBe(config.KEY.current.id)
    expect(logged).toMatchObject([{ setting: 'KEY', level: 'info' }])
  })

  test('the second line of a file is valid beside the first: one write announces a key, the next uses it, the last forgets the old one', async () => {
    const { config, look } = open()
    const next = hex()
    replace('KEK', `${values.KEK}\n${next}\n`)
    await look()
    expect([bytes(config.KEK.current), bytes(config.KEK.previous)]).toEqual([values.KEK, next])
    replace('KEK', `${next}\n${values.KEK}\n`)
    await look()
    expect([bytes(config.KEK.current), bytes(config.KEK.previous)]).toEqual([next, values.KEK])
    replace('KEK', next)
    await look()
    expect([bytes(config.KEK.current), bytes(config.KEK.previous)]).toEqual([next, undefined])
  })

  test('a token that is replaced lets in for two more minutes, one that is named beside the new one as long as it stands there', async () => {
    const { config, look } = open()
    const next = token()
    replace('TOKEN', next)
    await look()
    expect(validNow(config.TOKEN)).toEqual([next, values.TOKEN])
    now = 119_000
    await look()
    expect(validNow(config.TOKEN)).toHaveLength(2)
    now = 120_000
    await look()
    expect(validNow(config.TOKEN)).toEqual([next])
    replace('TOKEN', `${token()}\n${next}`)
    await look()
    now = 10_000_000
    await look()
    expect(validNow(config.TOKEN)).toContain(next)
  })

  test('a file of the previous value may come and go while it runs', async () => {
    const { config, look } = open({ TOKEN_PREVIOUS_FILE: file('TOKEN_PREVIOUS') })
    expect(validNow(config.TOKEN)).toEqual([values.TOKEN])
    const beside = token()
    write('TOKEN_PREVIOUS', beside)
    await look()
    expect(validNow(config.TOKEN)).toEqual([values.TOKEN, beside])
    rmSync(file('TOKEN_PREVIOUS'))
    await look()
    expect(validNow(config.TOKEN)).toEqual([values.TOKEN])
  })

  test('a mounted Secret of Kubernetes, whose `..data` link is swapped, changes as a whole', async () => {
    const version = (name: string, key: string, secret: string) => {
      mkdirSync(file(name))
      writeFileSync(join(file(name), 'KEY'), key)
      writeFileSync(join(file(name), 'TOKEN'), secret)
    }
    version('..2026_01', values.KEY, values.TOKEN)
    symlinkSync('..2026_01', file('..data'))
    for (const name of ['KEY', 'TOKEN']) {
      rmSync(file(name))
      symlinkSync(join('..data', name), file(name))
    }
    const { config, look } = open()
    const [key, secret] = [hex(), token()]
    version('..2026_02', key, secret)
    symlinkSync('..2026_02', file('..data_tmp'))
    renameSync(file('..data_tmp'), file('..data'))
    rmSync(file('..2026_01'), { recursive: true })
    await look()
    expect(bytes(config.KEY.current)).toBe(key)
    expect(config.TOKEN?.current).toBe(secret)
  })

  test.each([
    ['an empty file', () => '', 'is an empty file'],
    ['a short key', () => 'abcd', 'is 2 bytes long'],
    ['a guessable key', () => '00'.repeat(32), 'openssl rand'],
    ['no key', () => 'nonsense', 'must be 64 hex digits'],
    ['three lines', () => `${hex()}\n${hex()}\n${hex()}`, 'more than two lines'],
    ['the same key twice', () => `${values.KEY}\n${values.KEY}`, 'equals KEY'],
  ])('%s is refused loudly, once, and the old key stays; when the file is right again it counts', async (_, text, rule) => {
    const { config, look, refused } = open()
    const bad = text()
    replace('KEY', bad)
    await look()
    await look()
    expect(bytes(config.KEY.current)).toBe(values.KEY)
    expect(logged).toMatchObject([{ level: 'error', setting: 'KEY' }])
    expect(JSON.stringify(logged)).toContain(rule)
    if (bad.length > 20) expect(JSON.stringify(logged)).not.toContain(bad.slice(0, 20))
    expect(await refused()).toBe(1)
    const next = hex()
    replace('KEY', next)
    await look()
    expect(bytes(config.KEY.current)).toBe(next)
    expect(await refused()).toBe(0)
  })

  test('a file that is gone is refused and the old value stays', async () => {
    const { config, look, refused } = open()
    rmSync(file('TOKEN'))
    await look()
    expect(config.TOKEN?.current).toBe(values.TOKEN)
    expect(await refused()).toBe(1)
    expect(JSON.stringify(logged)).toContain('cannot be read')
  })

  test('a key that seals is not taken away: a file that does not name the one in use is refused', async () => {
    const { config, look } = open()
    replace('KEK', hex())
    await look()
    expect(bytes(config.KEK.current)).toBe(values.KEK)
    expect(JSON.stringify(logged)).toContain('must name the key in use on its second line')
  })

  test('what is half written is not taken: a change counts when two looks find the same', async () => {
    const { config, once } = open()
    const next = token()
    write('TOKEN', next.slice(0, 30))
    await once()
    write('TOKEN', next)
    await once()
    expect(config.TOKEN?.current).toBe(values.TOKEN)
    await once()
    expect(config.TOKEN?.current).toBe(next)
  })

  test('a login goes to its store; what the store does not take is refused and tried again later', async () => {
    write('LOGIN', 'redis://a:first-password@h/0')
    const taken: string[] = []
    let open_ = false
    const { look, refused } = open(
      { LOGIN_FILE: file('LOGIN') },
      {
        LOGIN: (url) => {
          taken.push(url)
          if (!open_) throw new Error(`WRONGPASS second-password of ${url}`)
        },
      },
    )
    replace('LOGIN', 'redis://a:second-password@h/0')
    await look()
    await look()
    expect(taken).toHaveLength(1)
    expect(await refused()).toBe(1)
    expect(JSON.stringify(logged)).toContain('WRONGPASS')
    expect(JSON.stringify(logged)).not.toContain('second-password')
    open_ = true
    now = 30_000
    await look()
    expect(taken).toHaveLength(2)
    expect(await refused()).toBe(0)
  })

  test('a new secret is kept out of the log from its first use', async () => {
    const { config, look, logger } = open()
    const next = randomBytes(24).toString('hex')
    replace('TOKEN', next)
    await look()
    logger.info({ note: `it is ${config.TOKEN?.current}, it was ${values.TOKEN}` }, 'told')
    expect(JSON.stringify(logged)).not.toContain(next)
    expect(JSON.stringify(logged)).not.toContain(values.TOKEN)
  })

  test('a setting that counts from the next start is named, and nothing changes', async () => {
    write('NAME', 'one')
    const { config, look } = open({ NAME_FILE: file('NAME') })
    replace('NAME', 'two')
    await look()
    expect(config.NAME).toBe('one')
    expect(logged).toMatchObject([{ level: 'warn', setting: 'NAME' }])
  })
})

test('[P-143] a second line and a previous value are one too many', () => {
  replace('TOKEN', `${values.TOKEN}\n${token()}`)
  expect(() => open({ TOKEN_PREVIOUS: token() })).toThrow('TOKEN_PREVIOUS and the second line of TOKEN_FILE are both set')
})
