import { execFileSync } from 'node:child_process'
import { chownSync, copyFileSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inFolder, NODE_ADDRESS, POSTGRES_HOST, REDIS_HOST } from './place.ts'
import { run, startProcess, stopProcess, until } from './processes.ts'

/** Passwords of a throw-away place; with every character that a URL would rather not have. */
export const POSTGRES_PASSWORD = 'p+w/d=@:%25 x'
export const REDIS_PASSWORD = 'r+w/d=@:%25x'

function postgresBinaries(): string {
  const root = '/usr/lib/postgresql'
  const newest = readdirSync(root).sort((a, b) => Number(b) - Number(a))[0]
  if (newest === undefined) throw new Error('Postgres is not installed: run `make test-servers`')
  return join(root, newest, 'bin')
}

function account(): { uid: number; gid: number } {
  const id = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }))
  return { uid: id('-u'), gid: id('-g') }
}

/** A Postgres as a provider would run it: TLS only, a login that owns its database and may make roles, nothing more. */
export async function startPostgres(): Promise<void> {
  const [bin, data, owner] = [postgresBinaries(), inFolder('postgres'), account()]
  if (!existsSync(join(data, 'PG_VERSION'))) {
    mkdirSync(data, { recursive: true, mode: 0o700 })
    chownSync(data, owner.uid, owner.gid)
    const initdb = ['-D', data, '-U', 'postgres', '--auth=trust', '--encoding=UTF8', '--no-locale', '--no-sync']
    execFileSync(join(bin, 'initdb'), initdb, { ...owner, cwd: data, stdio: 'pipe' })
    for (const file of ['postgres.crt', 'postgres.key']) {
      copyFileSync(inFolder('pki', file), join(data, file))
      chownSync(join(data, file), owner.uid, owner.gid)
    }
    execFileSync('chmod', ['600', join(data, 'postgres.key')])
    writeFileSync(join(data, 'pg_hba.conf'), 'local all postgres trust\nhostssl all all 0.0.0.0/0 scram-sha-256\n')
  }
  const settings = {
    listen_addresses: NODE_ADDRESS,
    unix_socket_directories: data,
    max_connections: '400',
    ssl: 'on',
    ssl_cert_file: 'postgres.crt',
    ssl_key_file: 'postgres.key',
    fsync: 'off',
    full_page_writes: 'off',
  }
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  startProcess('postgres', [join(bin, 'postgres'), '-D', data, ...flags], { ...owner, cwd: data })
  await until('Postgres answers', 60, () => sql('select 1').includes('1'))
}

/** As the administrator of the server, over its socket. */
export const sql = (statement: string, database = 'postgres'): string =>
  run(['psql', '-X', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-h', inFolder('postgres'), '-U', 'postgres', database], { input: statement })

/** An empty database of its own with the login `caracal`; what was in one of that name is gone. */
export function freshDatabase(name: string): void {
  sql(`drop database if exists ${name} with (force)`)
  const exists = sql("select 1 from pg_roles where rolname = 'caracal'").trim() === '1'
  if (!exists) sql(`create role caracal login createrole password '${POSTGRES_PASSWORD}'`)
  sql(`create database ${name} owner caracal`)
}

/** Takes Postgres away at once, as when a provider moves it; `startPostgres` brings it back with what it had. */
export const stopPostgres = (): Promise<void> => stopProcess('postgres', 'SIGQUIT')

/** A Redis as a provider would run it: TLS, a password, an append-only file, nothing evicted. */
export async function startRedis(): Promise<void> {
  mkdirSync(inFolder('redis'), { recursive: true })
  const settings = [
    `bind ${NODE_ADDRESS}`,
    'port 0',
    'tls-port 6379',
    `tls-cert-file ${inFolder('pki/redis.crt')}`,
    `tls-key-file ${inFolder('pki/redis.key')}`,
    `tls-ca-cert-file ${inFolder('pki/ca.crt')}`,
    'tls-auth-clients no',
    `requirepass ${REDIS_PASSWORD}`,
    `dir ${inFolder('redis')}`,
    'save ""',
    'appendonly yes',
    'maxmemory 512mb',
    'maxmemory-policy noeviction',
  ]
  writeFileSync(inFolder('redis.conf'), `${settings.join('\n')}\n`, { mode: 0o600 })
  startProcess('redis', ['redis-server', inFolder('redis.conf')])
  await until('Redis answers', 30, () => redis('PING').includes('PONG'))
}

export const redis = (...command: readonly string[]): string =>
  run([
    'redis-cli',
    '-h',
    NODE_ADDRESS,
    '-p',
    '6379',
    '--tls',
    '--cacert',
    inFolder('pki/ca.crt'),
    '--sni',
    REDIS_HOST,
    '--no-auth-warning',
    '-a',
    REDIS_PASSWORD,
    ...command,
  ])

const part = encodeURIComponent
export const databaseUrl = (name: string): string =>
  `postgres://caracal:${part(POSTGRES_PASSWORD)}@${POSTGRES_HOST}:5432/${name}?sslmode=verify-full`
export const redisUrl = (database: number): string => `rediss://:${part(REDIS_PASSWORD)}@${REDIS_HOST}:6379/${database}`
