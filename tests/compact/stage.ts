import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type PostgresServer, postgresBinaries, startPostgres } from '@caracal/harness'
import { caracal } from '../e2e/installation.ts'
import { type CompactProcess, startCompactProcess } from './compact-process.ts'
import { startUpstream, ZONE } from './governed.ts'

/** What the ledger says of a call or of a change. */
export type LedgerEvent = {
  readonly type: string
  readonly operation?: { readonly path?: string }
  readonly details?: { readonly degraded?: boolean }
  readonly request_id?: string
}

/** A durable Postgres that wants a password, an upstream, and processes of the compact deployment on them. */
export type CompactStage = {
  readonly server: PostgresServer
  readonly upstream: Awaited<ReturnType<typeof startUpstream>>
  readonly password: string
  /** `DB_*`; what is put here holds for processes that are started later. */
  environment: Record<string, string>
  readonly started: CompactProcess[]
  start(more?: Readonly<Record<string, string>>): Promise<CompactProcess>
  /** A program of Postgres through the socket, as `kubectl exec` in its pod runs it. */
  inPod(program: string, args: readonly string[], input?: string): string
  /** A folder that goes with the stage. */
  readonly folder: string
  /** Makes the first admin token, in the database. */
  firstToken(): Promise<string>
  /** Events of the zone in the ledger, as the Audit beside a Gateway tells them. */
  events(gateway: CompactProcess, token: string, query: string): Promise<readonly LedgerEvent[]>
  stop(): Promise<void>
}

export async function openStage(): Promise<CompactStage> {
  const server = await startPostgres({ durable: true })
  // As `openssl rand -base64` makes them: every character that a URL would read otherwise is in it.
  const password = `p/w+=${randomBytes(24).toString('base64')}`
  const { port } = new URL(server.url)
  const inPod: CompactStage['inPod'] = (program, args, input) =>
    execFileSync(join(postgresBinaries(), program), ['-h', server.dataDir, '-p', port, '-U', 'caracal', ...args], {
      encoding: 'utf8',
      maxBuffer: 1 << 28,
      stdio: ['pipe', 'pipe', 'pipe'],
      ...(input === undefined ? {} : { input }),
    })
  // The harness asks as `caracal` whether it answers; everybody else needs a password.
  const make = [`CREATE ROLE owner LOGIN SUPERUSER PASSWORD '${password}'`, 'CREATE DATABASE caracal OWNER owner']
  inPod('psql', ['-d', 'postgres', ...make.flatMap((one) => ['-c', one])])
  writeFileSync(join(server.dataDir, 'pg_hba.conf'), 'local all all trust\nhost all caracal all trust\nhost all all all scram-sha-256\n')
  inPod('psql', ['-d', 'postgres', '-c', 'SELECT pg_reload_conf()'])
  const upstream = await startUpstream()
  const started: CompactProcess[] = []
  const folder = mkdtempSync(join(tmpdir(), 'caracal-compact-'))
  const stage: CompactStage = {
    server,
    upstream,
    password,
    started,
    inPod,
    folder,
    environment: { DB_HOST: '127.0.0.1', DB_PORT: port, DB_NAME: 'caracal', DB_USER: 'owner', DB_PASSWORD: password },
    start: async (more = {}) => {
      const one = await startCompactProcess({ environment: { ...stage.environment, ...more } })
      started.push(one)
      return one
    },
    firstToken: async () => {
      const roles = ['admin', 'auditor', 'operator', 'approver', 'viewer', 'policy_author'].flatMap((role) => ['--role', role])
      const made = await caracal(['token', 'create', 'first', ...roles, '--days', '1', '--database'], stage.environment)
      if (made.code !== 0) throw new Error(made.stderr)
      return made.stdout.trim()
    },
    events: async (gateway, token, query) => {
      const listed = await gateway.caracal(['--json', 'get', 'zones'], { CARACAL_TOKEN: token })
      const id = (JSON.parse(listed.stdout) as { id: string; name: string }[]).find(({ name }) => name === ZONE)?.id
      const found: LedgerEvent[] = []
      for (let cursor = ''; ; ) {
        const answer = await fetch(`${gateway.urls.audit}/v1/zones/${id}/events?limit=200&${query}${cursor}`, {
          headers: { authorization: `Bearer ${token}` },
        })
        const page = (await answer.json()) as { items: { event: string }[]; next_cursor: string | null }
        if (!answer.ok) throw new Error(JSON.stringify(page))
        found.push(...page.items.map(({ event }) => JSON.parse(event) as LedgerEvent))
        if (page.next_cursor === null) return found
        cursor = `&cursor=${encodeURIComponent(page.next_cursor)}`
      }
    },
    stop: async () => {
      await Promise.all(started.map((one) => one.end('SIGKILL')))
      upstream.stop()
      await server.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
  return stage
}
