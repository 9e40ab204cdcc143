import { randomBytes } from 'node:crypto'
import type { Event } from '@caracal/core'
import { freshDatabaseUrl } from '@caracal/harness'
import { type Database, migrateUp, openDatabase } from '@caracal/postgres'
import type { RunningService } from '@caracal/service'
import { sql } from 'kysely'
import { apiConfiguration, startApi } from '../index.ts'

export type Called = {
  readonly status: number
  readonly headers: Headers
  /** The JSON body; undefined when there is none. Typed by whoever reads it. */
  // biome-ignore lint/suspicious/noExplicitAny: a test reads what it expects
  readonly body: any
  readonly text: string
}

export type ApiForTest = {
  readonly service: RunningService
  readonly database: Database
  /** The bootstrap token. */
  readonly token: string
  call(method: string, path: string, body?: unknown, options?: { token?: string; headers?: Record<string, string> }): Promise<Called>
  apply(documents: string, options?: { mode?: 'plan' | 'apply'; token?: string; activate?: boolean }): Promise<Called>
  stop(): Promise<void>
}

const hex = () => randomBytes(32).toString('hex')

/** An API on an embedded or a real Postgres, with streams over the same one. There is no STS behind it. */
export async function apiForTest(kind: Database['kind']): Promise<ApiForTest> {
  const database = await openDatabase(kind === 'embedded' ? { memory: true } : { url: await freshDatabaseUrl() })
  await migrateUp(database)
  const token = `bootstrap-${randomBytes(24).toString('base64url')}`
  const config = apiConfiguration.parse({
    CARACAL_MODE: 'dev',
    PORT: '0',
    METRICS_PORT: '0',
    LOG_LEVEL: 'silent',
    STREAMS_DRIVER: 'postgres',
    STREAMS_HMAC_KEY: hex(),
    AUDIT_HMAC_KEY: hex(),
    GATEWAY_STS_HMAC_KEY: hex(),
    STS_URL: 'http://127.0.0.1:9',
    ADMIN_TOKEN: token,
  })
  const service = await startApi(config, { database })
  const call: ApiForTest['call'] = async (method, path, body, options = {}) => {
    const response = await fetch(service.address.url + path, {
      method,
      headers: {
        authorization: `Bearer ${options.token ?? token}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...options.headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const text = await response.text()
    return { status: response.status, headers: response.headers, text, body: text.startsWith('{') ? JSON.parse(text) : undefined }
  }
  return {
    service,
    database,
    token,
    call,
    apply: (text, { mode = 'apply', activate = true, token: as } = {}) =>
      call(
        'POST',
        '/v1/apply',
        { mode, activate, documents: [{ file: 'a.yaml', text }], secrets: {} },
        as === undefined ? {} : { token: as },
      ),
    async stop() {
      await service.stop()
      await database.close()
    },
  }
}

type Message = { readonly stream: string; readonly payload: string }

/** What `work` leaves in the outbox, also after the dispatcher took it away. */
export async function outboxDuring({ database }: ApiForTest, work: () => Promise<void>): Promise<readonly Message[]> {
  const run = (text: string) => sql.raw(text).execute(database.query)
  await run('CREATE TABLE seen AS SELECT stream, payload FROM outbox WHERE false')
  await run('CREATE RULE seen AS ON INSERT TO outbox DO ALSO INSERT INTO seen VALUES (NEW.stream, NEW.payload)')
  try {
    await work()
    return (await sql<Message>`select * from seen`.execute(database.query)).rows
  } finally {
    await run('DROP RULE seen ON outbox')
    await run('DROP TABLE seen')
  }
}

/** The events among messages. */
export function eventsOf(messages: readonly Message[]): readonly Event[] {
  const payloads = messages.filter(({ stream }) => stream === 'caracal.audit.events').map(({ payload }) => payload)
  // A line of producer and MAC, then a line for each event.
  return payloads.flatMap((payload) => payload.trimEnd().split('\n').slice(1)).map((text) => JSON.parse(text))
}

/** A zone with an application, an open provider, a ruled resource and a policy: no secret, so no STS is needed. */
export const SAMPLE = `
kind: Zone
name: lab
labels: [test]
---
kind: Application
name: agent
labels: [agents]
---
kind: Provider
name: open
method: none
hosts: ["127.0.0.1:8090"]
---
kind: Resource
name: notes
identifier: https://notes.example/
upstream: http://127.0.0.1:8090
provider: open
scopes: ["notes:read", "notes:delete"]
operations:
  - { method: GET, path: /notes, scope: "notes:read" }
  - { method: DELETE, path: "/notes/{id}", scope: "notes:delete" }
---
kind: Policy
name: notes
rules:
  - id: read
    allow: ["notes:read"]
    on: ["https://notes.example/"]
    for: { labels: [agents] }
`
