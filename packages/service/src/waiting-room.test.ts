import { randomBytes } from 'node:crypto'
import { keyRing } from '@caracal/core'
import { freePort, freshDatabaseUrl, startPostgres, startRedis } from '@caracal/harness'
import { migrateUp, openDatabase, SCHEMA } from '@caracal/postgres'
import { afterEach, describe, expect, test } from 'vitest'
import { createLogger, ownDatabase, ownStreams, SchemaTooNew } from './index.ts'

const logger = createLogger({ name: 'test', level: 'silent' })
const undo: (() => unknown)[] = []
afterEach(async () => {
  for (const one of undo.splice(0).reverse()) await one()
})

async function listeners() {
  const [PORT, METRICS_PORT] = [await freePort(), await freePort()]
  return { CARACAL_MODE: 'dev', HOST: '127.0.0.1', PORT, METRICS_PORT, METRICS_BEARER: undefined, POD_NAME: undefined } as const
}

const own = (config: Awaited<ReturnType<typeof listeners>>, url: string) =>
  ownDatabase('api', { ...config, DATABASE_URL: url, DATABASE_POOL: 2 }, logger, (_, stop) => undo.push(stop))

async function asked(port: number, path: string): Promise<{ status: number; body: string }> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}${path}`)
    return { status: response.status, body: await response.text() }
  } catch {
    return { status: 0, body: '' }
  }
}

const reasons = async (port: number): Promise<readonly string[]> => {
  const { status, body } = await asked(port, '/ready')
  return status === 503 ? (JSON.parse(body) as { reasons: string[] }).reasons : []
}

describe('a role that cannot begin its work', () => {
  test('[0-26] waits for migrations: alive, not ready, and both ports say that the schema is why', async () => {
    const url = await freshDatabaseUrl()
    const config = await listeners()
    const opening = own(config, url)
    for (const port of [config.PORT, config.METRICS_PORT]) {
      await expect.poll(() => reasons(port)).toEqual(['starting', 'schema_incompatible'])
      expect((await asked(port, '/livez')).status).toBe(200)
      const health = await asked(port, '/health')
      expect(health.status).toBe(200)
      expect(JSON.parse(health.body)).toMatchObject({ status: 'degraded', service: 'api' })
    }
    expect((await asked(config.PORT, '/v1/zones')).status).toBe(503)
    expect((await asked(config.PORT, '/metrics')).status).toBe(503)
    const { body } = await asked(config.METRICS_PORT, '/metrics')
    expect(body).toMatch(/^caracal_ready 0$/m)
    expect(body).toMatch(/^caracal_schema_compatible 0$/m)
    expect(body).toMatch(new RegExp(`^caracal_schema_pending ${SCHEMA.level}$`, 'm'))

    const runner = await openDatabase({ url })
    await migrateUp(runner)
    await runner.close()
    await (await opening).ping()
    expect((await asked(config.PORT, '/livez')).status).toBe(0)
    expect((await asked(config.METRICS_PORT, '/livez')).status).toBe(0)
  })

  test('does not begin on a schema that demands a newer release, and says both levels', async () => {
    const url = await freshDatabaseUrl()
    const runner = await openDatabase({ url })
    await migrateUp(runner)
    await runner.query
      .updateTable('schema_floor')
      .set({ floor: SCHEMA.level + 1 })
      .execute()
    await runner.close()
    const refused = own(await listeners(), url)
    await expect(refused).rejects.toThrow(SchemaTooNew)
    await expect(refused).rejects.toThrow(`level ${SCHEMA.level + 1} or higher, and this one is of level ${SCHEMA.level}; roll forward`)
  })

  test('[0-26] waits for a Postgres that is away, names it and not the schema, and begins when it is there', async () => {
    const postgres = await startPostgres()
    undo.push(postgres.stop)
    const runner = await openDatabase({ url: postgres.url })
    await migrateUp(runner)
    await runner.close()
    await postgres.end('SIGINT')
    const config = await listeners()
    const opening = own(config, postgres.url)
    await expect.poll(() => reasons(config.PORT)).toEqual(['starting', 'starting: postgres'])
    await postgres.start()
    await (await opening).ping()
  })

  test('[0-26] waits for a Redis that is away, and names the streams', async () => {
    const redis = await startRedis()
    undo.push(redis.stop)
    await redis.end('SIGTERM')
    const config = await listeners()
    const opening = ownStreams(
      'gateway',
      {
        ...config,
        STREAMS_DRIVER: 'redis',
        REDIS_URL: redis.url,
        STREAMS_HMAC_KEY: keyRing(randomBytes(32)),
      },
      null,
      logger,
      (_, stop) => undo.push(stop),
    )
    await expect.poll(() => reasons(config.METRICS_PORT)).toEqual(['starting', 'starting: streams'])
    await redis.start()
    await (await opening).ping()
  })

  test('listens nowhere when everything is there at once', async () => {
    const url = await freshDatabaseUrl()
    const runner = await openDatabase({ url })
    await migrateUp(runner)
    await runner.close()
    const config = await listeners()
    const taken = await ownDatabase('api', { ...config, PORT: 1, DATABASE_URL: url, DATABASE_POOL: 2 }, logger, (_, stop) =>
      undo.push(stop),
    )
    await taken.ping()
  })
})
