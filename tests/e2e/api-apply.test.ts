import { randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { apiConfiguration, startApi } from '@caracal/api'
import { keyRing } from '@caracal/core'
import { freshDatabaseUrl } from '@caracal/harness'
import { type Database, findProviderSecret, migrateUp, openDatabase } from '@caracal/postgres'
import { createLogger, type RunningService } from '@caracal/service'
import { openStreams } from '@caracal/streams'
import { startSts, stsConfiguration } from '@caracal/sts'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const QUICKSTART = join(import.meta.dirname, '../../examples/quickstart')
const SECRET = 'notes-api-key-that-nobody-sees'

/** What the CLI sends for a folder. */
const documents = readdirSync(QUICKSTART)
  .filter((name) => name.endsWith('.yaml'))
  .map((file) => ({ file, text: readFileSync(join(QUICKSTART, file), 'utf8') }))

describe('apply with an STS', () => {
  let database: Database
  let sts: RunningService
  let api: RunningService
  const token = randomBytes(24).toString('base64url')
  const closers: (() => Promise<unknown>)[] = []

  beforeAll(async () => {
    database = await openDatabase({ url: await freshDatabaseUrl() })
    closers.unshift(() => database.close())
    await migrateUp(database)
    const logger = createLogger({ name: 'test', level: 'silent' })
    const streamKey = randomBytes(32)
    const streams = openStreams({ driver: 'postgres', database, keys: keyRing(streamKey), logger })
    closers.unshift(() => streams.close())
    const spool = mkdtempSync(join(tmpdir(), 'caracal-spool-'))
    closers.push(async () => rmSync(spool, { recursive: true }))
    const common = {
      CARACAL_MODE: 'dev',
      PORT: '0',
      METRICS_PORT: '0',
      STREAMS_DRIVER: 'postgres',
      STREAMS_HMAC_KEY: streamKey.toString('hex'),
      AUDIT_HMAC_KEY: randomBytes(32).toString('hex'),
      GATEWAY_STS_HMAC_KEY: randomBytes(32).toString('hex'),
    }
    sts = await startSts(
      stsConfiguration.parse({
        ...common,
        ISSUER_URL: 'http://127.0.0.1:8080',
        SPOOL_DIR: spool,
        ZONE_KEK: randomBytes(32).toString('hex'),
      }),
      { database, streams, logger },
    )
    closers.unshift(() => sts.stop())
    const config = apiConfiguration.parse({ ...common, STS_URL: sts.address.url, ADMIN_TOKEN: token })
    api = await startApi(config, { database, streams, logger })
    closers.unshift(() => api.stop())
  })
  afterAll(async () => {
    for (const close of closers) await close()
  })

  async function call(method: string, path: string, body?: unknown) {
    const response = await fetch(api.address.url + path, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    return { status: response.status, text, body: text === '' ? undefined : JSON.parse(text) }
  }
  const apply = (secret: string, mode = 'apply') =>
    call('POST', '/v1/apply', { mode, activate: true, documents, secrets: { 'env:NOTES_API_KEY': secret } })
  const actions = (answer: { body: { steps: { kind: string; action: string }[] } }) =>
    Object.fromEntries(answer.body.steps.map((step) => [step.kind, step.action]))
  const only = async (path: string) => (await call('GET', path)).body.items[0]

  test('[P-129] the quick start is applied with a new zone and a secret, and applied again changes nothing', async () => {
    const first = await apply(SECRET)
    expect(first).toMatchObject({ status: 200, body: { applied: true } })
    expect(actions(first)).toEqual({
      Zone: 'create',
      Application: 'create',
      Provider: 'create',
      Resource: 'create',
      Policy: 'create',
      PolicySet: 'activate',
    })
    expect(new Set(Object.values(actions(await apply(SECRET))))).toEqual(new Set(['unchanged']))
  })

  test('[P-129] another secret is seen by its digest, and the plan does not tell it', async () => {
    const planned = await apply('another-secret-value', 'plan')
    expect(actions(planned)).toMatchObject({ Provider: 'update', Resource: 'unchanged' })
    expect(planned.text).toContain('secret: another value')
    expect(planned.text).not.toContain('another-secret-value')
    const zone = await only('/v1/zones')
    const provider = await only(`/v1/zones/${zone.id}/providers`)
    const before = await findProviderSecret(database.query, zone.id, provider.id)
    expect(actions(await apply('another-secret-value'))).toMatchObject({ Provider: 'update' })
    const after = await findProviderSecret(database.query, zone.id, provider.id)
    expect(after?.version).toBe((before?.version ?? 0) + 1)
    expect(actions(await apply('another-secret-value'))).toMatchObject({ Provider: 'unchanged' })
  })

  test('[P-084] a secret stands nowhere in clear and patching one member keeps it', async () => {
    const zone = await only('/v1/zones')
    const provider = await only(`/v1/zones/${zone.id}/providers`)
    const before = await findProviderSecret(database.query, zone.id, provider.id)
    expect(JSON.stringify(provider)).not.toMatch(/secret|sealed|digest/)
    const response = await fetch(`${api.address.url}/v1/zones/${zone.id}/providers/${provider.id}`, {
      method: 'PATCH',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', 'if-match': `"${provider.version}"` },
      body: JSON.stringify({ hosts: ['127.0.0.1:8090', '127.0.0.1:8091'] }),
    })
    expect(response.status).toBe(200)
    expect(await findProviderSecret(database.query, zone.id, provider.id)).toEqual(before)
    const tables = await Promise.all([
      database.query.selectFrom('providers').selectAll().execute(),
      database.query.selectFrom('outbox').selectAll().execute(),
      database.query.selectFrom('idempotency_receipts').selectAll().execute(),
    ])
    expect(JSON.stringify(tables)).not.toMatch(/another-secret-value|notes-api-key/)
  })

  test('a client secret is shown once, works at the token endpoint, and stops when it is retired', async () => {
    const zone = await only('/v1/zones')
    const application = await only(`/v1/zones/${zone.id}/applications`)
    const path = `/v1/zones/${zone.id}/applications/${application.id}/credentials`
    const made = await call('POST', path, { kind: 'secret' })
    expect(made).toMatchObject({ status: 201, body: { client_id: application.id, expiresAt: null } })
    expect(made.body.client_secret).toMatch(/^ccs_[A-Za-z0-9_-]{43}$/)
    const mint = async () => {
      const response = await fetch(`${sts.address.url}/oauth/2/token`, {
        method: 'POST',
        body: new URLSearchParams({
          grant_type: 'client_credentials',
          client_id: made.body.client_id,
          client_secret: made.body.client_secret,
          resource: 'https://notes.example/',
          scope: 'notes:read',
        }),
      })
      return response.status
    }
    expect(await mint()).toBe(200)
    const listed = await call('GET', path)
    expect(listed.body.items).toHaveLength(1)
    expect(listed.text).not.toMatch(/digest|ccs_/)

    expect((await call('POST', path, { kind: 'secret' })).status).toBe(201)
    expect(await call('POST', path, { kind: 'secret' })).toMatchObject({ status: 409, body: { code: 'conflict' } })
    expect((await call('DELETE', `${path}/${made.body.id}`)).status).toBe(204)
    await expect.poll(mint, { timeout: 7_000 }).toBe(401)
  })
})
