import { randomBytes } from 'node:crypto'

/** How one key of the runtime Secret comes about. */
type Recipe = {
  readonly key: string
  /** Made only when it is asked for; by this name. */
  readonly onlyWith?: string
  readonly make: () => string
}

const hexKey = () => randomBytes(32).toString('hex')
const token = () => `cat_${randomBytes(32).toString('base64url')}`

/** Keys that need nothing but randomness, in the order in which they are printed. */
const RECIPES: readonly Recipe[] = [
  { key: 'zoneKek', make: hexKey },
  { key: 'auditHmacKey', make: hexKey },
  { key: 'streamsHmacKey', make: hexKey },
  { key: 'gatewayStsHmacKey', make: hexKey },
  { key: 'adminToken', make: token },
  { key: 'coordinatorToken', make: token },
  { key: 'stsAdminToken', onlyWith: 'sts-admin-token', make: token },
  { key: 'auditAdminToken', onlyWith: 'audit-admin-token', make: token },
  { key: 'metricsBearer', onlyWith: 'metrics-bearer', make: token },
]

/** What `--with` takes. */
export const OPTIONAL_KEYS: readonly string[] = RECIPES.flatMap(({ onlyWith }) => onlyWith ?? [])

/** Where one of the stores is. An absent password is made. */
export type StorePlace = { readonly host: string; readonly port: number; readonly password?: string | undefined }
export type DatabasePlan = StorePlace & { readonly name: string; readonly user: string; readonly sslMode: string }
export type RedisPlan = StorePlace & { readonly database: number; readonly tls: boolean }

export type RuntimeSecretPlan = {
  readonly database: DatabasePlan
  /** Absent: the streams are carried by Postgres. */
  readonly redis?: RedisPlan | undefined
  readonly optional: readonly string[]
  /** Values that exist already; they stay what they are. */
  readonly keep: Readonly<Record<string, string>>
}

/** The data of the runtime Secret by key: 32 random bytes for every secret, and the addresses of the stores with what logs in there. */
export function runtimeSecret({ database, redis, optional, keep }: RuntimeSecretPlan): Readonly<Record<string, string>> {
  const password = keep.postgresPassword ?? database.password ?? randomBytes(32).toString('base64url')
  const made: Record<string, string> = {
    databaseUrl: keep.databaseUrl ?? databaseUrlOf(database, password),
    postgresPassword: password,
  }
  if (redis !== undefined) made.redisUrl = keep.redisUrl ?? redisUrlOf(redis, redis.password ?? randomBytes(32).toString('base64url'))
  for (const { key, onlyWith, make } of RECIPES) {
    if (onlyWith === undefined || optional.includes(onlyWith)) made[key] = keep[key] ?? make()
  }
  return { ...keep, ...made }
}

/** `host`, or `[host]` for an IPv6 address. */
function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}

function databaseUrlOf({ host, port, name, user, sslMode }: DatabasePlan, password: string): string {
  const login = `${encodeURIComponent(user)}:${encodeURIComponent(password)}`
  return `postgres://${login}@${bracketed(host)}:${port}/${encodeURIComponent(name)}?sslmode=${sslMode}`
}

function redisUrlOf({ host, port, database, tls }: RedisPlan, password: string): string {
  return `redis${tls ? 's' : ''}://:${encodeURIComponent(password)}@${bracketed(host)}:${port}/${database}`
}
