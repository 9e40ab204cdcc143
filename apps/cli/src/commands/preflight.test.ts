import { createServer } from 'node:net'
import { freshDatabaseUrl } from '@caracal/harness'
import { expect, test } from 'vitest'
import { connectionBudget } from '../preflight/connection-budget.ts'
import { preflight } from './preflight.ts'

const plan = (role: string, replicas: number, pool: number) => ({ role, replicas, pool })

test.each([
  [[plan('sts', 4, 10), plan('api', 4, 10)], 100, true, 80, 80],
  [[plan('sts', 4, 10), plan('api', 4, 10), plan('audit', 1, 1)], 100, false, 81, 80],
  [[plan('sts', 2, 10)], 25, true, 20, 20],
  [[plan('sts', 2, 10)], 24, false, 20, 19],
  [[], 0, true, 0, 0],
])('[P-170] replicas times pool may be four fifths of the connections: %j of %i', (plans, most, ok, needed, allowed) => {
  expect(connectionBudget(plans, most)).toEqual({ ok, needed, allowed, maxConnections: most })
})

async function run(options: { replicas?: string[]; pool?: string[]; egress?: true }, env: Record<string, string>) {
  const lines: string[] = []
  const output = { json: true, line: (text = '') => void lines.push(text), note: () => {} }
  const context = () => {
    throw new Error('the command asked for a service')
  }
  const failure = await preflight({ output, context, env }, { replicas: [], pool: [], ...options }).then(
    () => undefined,
    (error: unknown) => error,
  )
  return { failure, told: lines.length === 0 ? undefined : JSON.parse(lines[0] ?? '') }
}

test('[P-170] preflight reads what the database takes, and refuses replicas that together may ask for more', async () => {
  const env = { DATABASE_URL: await freshDatabaseUrl() }
  const fits = await run({ replicas: ['sts=3', 'api=2'], pool: ['audit=4'] }, env)
  expect(fits.failure).toBeUndefined()
  expect(fits.told).toMatchObject({ ok: true })
  const budget = (told: { checks: { name: string; needed?: number; maxConnections?: number }[] }) =>
    told.checks.find(({ name }) => name === 'connections')
  expect(budget(fits.told)).toMatchObject({ needed: 64 })
  const most = budget(fits.told)?.maxConnections as number
  const replicas = Math.floor((most * 0.8 - 30) / 10)
  expect((await run({ replicas: [`sts=${replicas}`] }, env)).failure).toBeUndefined()
  const over = await run({ replicas: [`sts=${replicas + 1}`] }, env)
  expect(over.failure).toMatchObject({ exitCode: 1, fix: expect.stringContaining('DATABASE_POOL') })
  expect(over.told).toMatchObject({ ok: false })
})

test.each(['gateway=2', 'sts', 'sts=-1', 'sts=many', 'bogus=1'])('%s is wrong use', async (text) => {
  expect((await run({ replicas: [text] }, {})).failure).toMatchObject({ exitCode: 2 })
})

test('[1-16] where no database is named, as in the Gateway’s pod, --egress dials what is called and says that it looked at no more', async () => {
  const listener = createServer()
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const { port } = listener.address() as { port: number }
  const env = { STS_URL: `http://127.0.0.1:${port}`, STREAMS_DRIVER: 'postgres' }
  const { failure, told } = await run({ egress: true }, env)
  listener.close()
  expect(failure).toBeUndefined()
  expect(told.checks).toEqual([
    expect.objectContaining({ name: 'database', warning: true }),
    expect.objectContaining({ name: 'redis', ok: true }),
    expect.objectContaining({ name: 'egress', ok: true, port }),
  ])
  expect((await run({}, env)).failure, 'without --egress the database is what it is about').toMatchObject({ exitCode: 2 })
})

test('a database that is not there is named without its password', async () => {
  const { failure } = await run({}, { DATABASE_URL: 'postgres://u:geheim@127.0.0.1:9/db' })
  expect(failure).toMatchObject({ message: expect.stringContaining('Nothing answers as Postgres') })
  expect(String((failure as Error).message)).not.toContain('geheim')
})
