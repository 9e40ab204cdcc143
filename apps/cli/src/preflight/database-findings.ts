import {
  type Database,
  databaseRole,
  examineServer,
  openDatabase,
  readMaxConnections,
  SERVICE_ROLES,
  type ServerFacts,
} from '@caracal/postgres'
import { databaseError } from '../database-error.ts'
import type { DatabaseLogin } from '../database-login.ts'
import { faultClass } from './fault-class.ts'
import { clockFinding, type Finding, fails, holds, warns } from './finding.ts'

const LEAST_VERSION = 15
export const LOOPBACK = /^(?:localhost|127\.\d+\.\d+\.\d+|\[?::1\]?)$/
/** What stands in the chart's values until somebody says where the database is. */
const SENTINEL = 'postgres.default.svc.cluster.local'

/** Where it was looked, as it stands in every line. */
export function placeFacts({ place, port, sslMode, passwordKey }: DatabaseLogin): Readonly<Record<string, unknown>> {
  const host = place.host.replace(/:\d+$/, '')
  return { host, port: Number(port), user: place.user, database: place.database, sslMode, passwordKey }
}

export type DatabaseRules = {
  /** In dev a database without TLS is fine. */
  readonly dev: boolean
  /** Rights to change the schema are needed: true for migrations. */
  readonly migrates: boolean
  /** Judges how many connections the server takes. */
  readonly budget: (maxConnections: number) => Finding
}

/** What holds of the database, one finding at a time. After a fault that makes the rest unanswerable there is nothing more. */
export async function* databaseFindings(login: DatabaseLogin, rules: DatabaseRules): AsyncGenerator<Finding> {
  const facts = placeFacts(login)
  if (!rules.dev && facts.host === SENTINEL) {
    yield fails(
      'database_address',
      'configuration',
      'the host is the one that stands in the values for none',
      'Say where Postgres is.',
      facts,
    )
    return
  }
  if (login.servicesDatabase !== undefined) yield sameDatabase(login, facts)
  const asked = performance.now()
  const found = await examine(login)
  if ('error' in found) {
    const told = databaseError(found.error, login.place)
    const words = told?.message ?? (found.error instanceof Error ? found.error.message : String(found.error))
    yield fails('database_connect', faultClass(found.error), words, told?.fix, facts)
    return
  }
  const tookMs = Math.round(performance.now() - asked)
  yield holds('database_connect', `${String(facts.host)} answers ${login.place.user} in ${tookMs} ms`, { ...facts, tookMs })
  yield* judged(found, login, rules, facts)
  yield rules.budget(found.maxConnections)
}

function sameDatabase({ place, servicesDatabase }: DatabaseLogin, facts: Finding['facts']): Finding {
  if (servicesDatabase === place.database) return holds('database_name', `migrations and services use ${place.database}`, facts)
  const words = `migrations go to the database ${place.database}, the services use ${servicesDatabase}`
  return fails('database_name', 'configuration', words, `Name the same database in ${place.setting('database')} and databaseUrl.`, facts)
}

function* judged(found: ServerFacts, login: DatabaseLogin, rules: DatabaseRules, facts: Finding['facts']): Generator<Finding> {
  const { place } = login
  const version = `${Math.floor(found.version / 10_000)}.${found.version % 10_000}`
  yield found.version >= LEAST_VERSION * 10_000
    ? holds('database_version', `Postgres ${version}`, { version })
    : fails(
        'database_version',
        'version',
        `Postgres ${version} is older than ${LEAST_VERSION}`,
        `Use Postgres ${LEAST_VERSION} or later.`,
        { version },
      )
  const open = fails('database_tls', 'tls', 'the connection is not encrypted', `Set ${place.setting('tls')} to verify-full.`, facts)
  // What goes to this machine itself crosses no network.
  const harmless = rules.dev || LOOPBACK.test(String(facts?.host))
  yield found.tls ? holds('database_tls', 'encrypted; certificate and host name verified') : harmless ? warns(open) : open
  if (found.readOnly)
    yield fails('database_writes', 'privilege', 'the server takes no changes', 'Connect to the primary, not to a standby.', facts)
  if (rules.migrates) {
    yield found.mayCreate
      ? holds('database_privilege', `${found.user} may make tables`, { user: found.user })
      : fails(
          'database_privilege',
          'privilege',
          `${found.user} may not make tables in ${found.database}`,
          `As its owner: GRANT CREATE ON SCHEMA public TO ${JSON.stringify(found.user)};`,
          facts,
        )
    yield found.rolesOrMayMakeThem
      ? holds('database_roles', 'the roles of the services are there or can be made')
      : fails(
          'database_roles',
          'privilege',
          `${found.user} may not create roles, and those of the services are not there`,
          `As a superuser: ALTER ROLE ${JSON.stringify(found.user)} CREATEROLE; or create ${SERVICE_ROLES.map(databaseRole).join(', ')} yourself.`,
          facts,
        )
  }
  yield clockFinding('database_clock', found.at)
}

async function examine({ url }: DatabaseLogin): Promise<(ServerFacts & { readonly maxConnections: number }) | { readonly error: unknown }> {
  let database: Database | undefined
  try {
    database = await openDatabase({ url, pool: 2, application: 'caracal-preflight' })
    return { ...(await examineServer(database.query)), maxConnections: await readMaxConnections(database.query) }
  } catch (error) {
    return { error }
  } finally {
    await database?.close()
  }
}
