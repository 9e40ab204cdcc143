import { type Database, schemaCompatibility } from '@caracal/postgres'
import type { Metrics } from './metrics.ts'

const WAIT_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]

/** `caracal_db_pool_*` and `caracal_schema_*` of an open database. */
export function observeDatabase(metrics: Metrics, database: Database): void {
  metrics.gauge('caracal_db_pool_connections', 'Connections of the pool by state; waiting are requests for one.', ['state'], (own) => {
    const pool = database.pool()
    own.set({ state: 'in_use' }, pool.inUse)
    own.set({ state: 'idle' }, pool.idle)
    own.set({ state: 'waiting' }, pool.waiting)
  })
  metrics.gauge('caracal_db_pool_max', 'Most connections the pool opens.', [], (own) => own.set(database.pool().max))
  const wait = metrics.histogram(
    'caracal_db_pool_wait_seconds',
    'Time until a statement or transaction had a connection.',
    [],
    WAIT_SECONDS,
  )
  database.onConnectionWait((seconds) => wait.observe(seconds))
  observeSchema(metrics, database)
}

/** `caracal_schema_*`. What the database does not answer is left as it was. */
export function observeSchema(metrics: Metrics, database: Database): void {
  const look = async (set: (found: Awaited<ReturnType<typeof schemaCompatibility>>) => void) => {
    try {
      set(await schemaCompatibility(database))
    } catch {
      // Postgres is away: its own check says so.
    }
  }
  metrics.gauge('caracal_schema_compatible', '1 when this release can work with the schema of the database.', [], (own) =>
    look(({ state }) => own.set(state === 'ok' ? 1 : 0)),
  )
  metrics.gauge('caracal_schema_pending', 'Migrations of this release that are not applied.', [], (own) =>
    look(({ schema, level }) => own.set(Math.max(0, level - schema))),
  )
}
