import { ConfigurationError, createLogger } from '@caracal/service'
import { expect, test } from 'vitest'
import { type Companion, startCompanion } from './companion.ts'

const THREAD = new URL('./companion-thread.fixture.ts', import.meta.url)

async function start(act: string, timing = {}): Promise<{ readonly companion: Companion; readonly said: string[] }> {
  const said: string[] = []
  const logger = createLogger({ name: 'gateway', level: 'info', write: (line) => void said.push(line) })
  const companion = await startCompanion({
    thread: THREAD,
    data: { act },
    logger,
    timing: { askMs: 20, silent: 3, dead: 1_000_000, stopMs: 30_000, ...timing },
  })
  return { companion, said }
}

test('it says which roles run, answers that it is alive, and ends when it is told to', async () => {
  const { companion, said } = await start('runs')
  expect(companion).toMatchObject({ roles: [{ name: 'sts', metrics: null }], sts: 'http://127.0.0.1:1' })
  await expect.poll(() => companion.check.check()).toBe(true)
  await Promise.all([companion.close(), companion.close()])
  await companion.failed
  expect(said).toEqual([])
})

test.each([
  ['dies', 'broken'],
  ['leaves', 'the thread ended with 3'],
])('a thread that %s after it started is the end of the whole, and is said aloud', async (act, why) => {
  const { companion, said } = await start(act)
  expect((await companion.failed).message).toBe(why)
  expect(said.map((line) => JSON.parse(line).level)).toEqual(['fatal'])
  await companion.close()
})

test('a thread that is silent takes the replica out of service, and one that stays so is ended', async () => {
  const { companion } = await start('falls silent', { dead: 40 })
  await expect.poll(() => companion.check.check(), { interval: 5 }).toBe(false)
  expect((await companion.failed).message).toBe('the thread does not answer')
  await companion.close()
})

test('a thread that does not stop is ended', async () => {
  const { companion, said } = await start('does not stop', { stopMs: 50 })
  await companion.close()
  expect(said.join('')).toMatch(/did not stop in time/)
})

test('what went wrong at its start is told here: what is wrong with the configuration as that, anything else by its words', async () => {
  const refused = await start('cannot be configured').catch((error: unknown) => error)
  expect(refused).toBeInstanceOf(ConfigurationError)
  expect((refused as ConfigurationError).problems).toEqual([{ name: 'ISSUER_URL', rule: 'is another one' }])
  await expect(start('cannot start')).rejects.toThrow('TypeError: no such table')
  await expect(start('dies at once')).rejects.toThrow('broken before it ran')
})
