import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { freePort } from './free-port.ts'

export type PostgresServer = {
  /** URL of the maintenance database, as superuser. */
  readonly url: string
  readonly dataDir: string
  /** To every process of the server: SIGSTOP makes it hang without closing anything, SIGCONT lets it go on. */
  signal(signal: NodeJS.Signals): void
  /** Ends every process of the server and leaves its files: SIGKILL as in a crash, SIGINT as an administrator would. */
  end(signal: 'SIGKILL' | 'SIGINT'): Promise<void>
  /** Starts what was ended again, on its port and its files. Resolves when it answers. */
  start(): Promise<void>
  /** Ends it and removes its files. */
  stop(): Promise<void>
}

/** The folder that holds `initdb` and `postgres`: the newest of the distribution's, else whatever PATH has. */
export function postgresBinaries(): string {
  const root = '/usr/lib/postgresql'
  const versions = existsSync(root) ? readdirSync(root).sort((a, b) => Number(b) - Number(a)) : []
  for (const version of versions) if (existsSync(join(root, version, 'bin/initdb'))) return join(root, version, 'bin')
  for (const dir of (process.env.PATH ?? '').split(':')) if (existsSync(join(dir, 'initdb'))) return dir
  throw new Error('Postgres is not installed: run `make test-servers` (Debian), or install a package with `initdb` and `postgres`')
}

/** Postgres refuses to run as root, so root hands it to the account that the distribution's package made. */
function unprivileged(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined
  const id = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }))
  return { uid: id('-u'), gid: id('-g') }
}

/**
 * Starts a Postgres of its own on loopback and a free port; resolves when it answers.
 * Tests of crashes ask for `durable`, everything else does without fsync.
 */
export async function startPostgres(
  options: { durable?: boolean; port?: number; settings?: Readonly<Record<string, string>> } = {},
): Promise<PostgresServer> {
  const bin = postgresBinaries()
  const account = unprivileged()
  const dataDir = mkdtempSync(join(tmpdir(), 'caracal-postgres-'))
  chmodSync(dataDir, 0o700)
  if (account) chownSync(dataDir, account.uid, account.gid)
  const run = { ...account, cwd: dataDir, stdio: 'ignore' as const }
  execFileSync(join(bin, 'initdb'), ['-D', dataDir, '-U', 'caracal', '--auth=trust', '--encoding=UTF8', '--no-locale', '--no-sync'], run)
  const port = options.port ?? (await freePort())
  const settings = {
    listen_addresses: '127.0.0.1',
    port: String(port),
    unix_socket_directories: dataDir,
    max_connections: '300',
    ...(options.durable ? {} : { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' }),
    ...options.settings,
  }
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const url = `postgres://caracal@127.0.0.1:${port}/postgres`
  let child: ChildProcess | undefined
  const start = async () => {
    // After a crash the shared memory of the one before may be held a moment longer, and a start is refused.
    for (let tries = 0; ; tries++) {
      const started = spawn(join(bin, 'postgres'), ['-D', dataDir, ...flags], run)
      child = started
      try {
        await untilAnswers(url, started)
        return
      } catch (error) {
        if (tries >= 20 || started.exitCode === null) throw error
        await sleep(100)
      }
    }
  }
  const end = async (signal: 'SIGKILL' | 'SIGINT') => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    signalTree(child.pid, 'SIGCONT') // what was stopped would never hear of it
    if (signal === 'SIGINT')
      child.kill(signal) // fast shutdown: open connections are ended
    else signalTree(child.pid, signal)
    await exited
  }
  await start()
  return {
    url,
    dataDir,
    signal: (signal) => signalTree(child?.pid, signal),
    end,
    start,
    stop: async () => {
      await end('SIGINT')
      rmSync(dataDir, { recursive: true, force: true })
    },
  }
}

async function untilAnswers(url: string, server: ChildProcess): Promise<void> {
  const deadline = Date.now() + 20_000
  for (;;) {
    const client = new pg.Client({ connectionString: url })
    client.on('error', () => {})
    try {
      await client.connect()
      await client.end()
      return
    } catch (error) {
      if (Date.now() > deadline || server.exitCode !== null) throw error
      await sleep(50)
    }
  }
}

/** A process and its children: Postgres serves each connection from a child of its own. */
function signalTree(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean)
  for (const one of [pid, ...children.map(Number)]) {
    try {
      process.kill(one, signal)
    } catch (error) {
      // A connection that ended by itself in between.
      if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
    }
  }
}
