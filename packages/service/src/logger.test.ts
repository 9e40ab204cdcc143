import { describe, expect, it } from 'vitest'
import { createLogger } from './logger.ts'

const SECRET = 'p@ss"word/with spice'

function logged(log: (logger: ReturnType<typeof createLogger>) => void): string {
  const lines: string[] = []
  log(createLogger({ name: 'api', level: 'trace', secrets: [SECRET], write: (line) => lines.push(line) }))
  return lines.join('')
}

describe('[P-148] the log', () => {
  it('is one JSON object per line', () => {
    const line = JSON.parse(logged((logger) => logger.info({ zone: 'z', count: 2 }, 'it happened')))
    expect(line).toMatchObject({ level: 'info', service: 'api', zone: 'z', count: 2, message: 'it happened' })
    expect(line.time).toMatch(/Z$/)
  })

  it.each([
    ['by value', { text: `it was ${SECRET}!` }],
    ['by value, as base64', { text: Buffer.from(SECRET).toString('base64') }],
    ['by value, in a URL', { text: encodeURIComponent(SECRET) }],
    ['by name', { password: 'canary-canary' }],
    ['by name, nested', { a: { b: [{ 'client-secret': { deep: 'canary-canary' } }] } }],
    ['by name, in other spelling', { Client_Secret: 'canary-canary', setCookie: 'canary-canary' }],
    ['a bearer', { header: 'Bearer canary-canary' }],
    ['a client secret', { text: `ccs_${'canary-canary'.repeat(4)}` }],
    ['a JWT', { text: 'eyJhbGciOiJub25lIn0.eyJjYW5hcnktY2FuYXJ5Ijp0cnVlfQ.canary-canary' }],
    ['a URL with password', { text: 'postgres://u:canary-canary@h/db' }],
    ['a PEM', { text: '-----BEGIN PRIVATE KEY-----\ncanary-canary\n-----END PRIVATE KEY-----' }],
    [
      'an error',
      { err: Object.assign(new Error(`said ${SECRET}`), { authorization: 'canary-canary', config: { token: 'canary-canary' } }) },
    ],
    ['an error with a cause', { err: new Error('outer', { cause: new Error(`Bearer canary-canary and ${SECRET}`) }) }],
  ])('never holds a secret: %s', (_name, fields) => {
    const text = logged((logger) => logger.warn(fields, 'something'))
    const quoted = JSON.stringify(SECRET).slice(1, -1)
    for (const one of [
      'canary-canary',
      'eyJjYW5hcnk',
      SECRET,
      quoted,
      encodeURIComponent(SECRET),
      Buffer.from(SECRET).toString('base64'),
    ]) {
      expect(text).not.toContain(one)
    }
    expect(JSON.parse(text).message).toBe('something')
  })

  it('redacts what a child is bound to, and survives cycles', () => {
    const cycle: Record<string, unknown> = { a: 1 }
    cycle.self = cycle
    expect(logged((logger) => logger.child({ token: 'canary-canary' }).info({ cycle }, 'x'))).not.toContain('canary')
  })

  it('counts what could not be written', () => {
    const logger = createLogger({
      name: 'api',
      level: 'info',
      write() {
        throw new Error('EPIPE')
      },
    })
    logger.info({}, 'x')
    logger.debug({}, 'not at this level')
    expect(logger.dropped()).toBe(1)
  })
})
