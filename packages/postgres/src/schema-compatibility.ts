import type { Database } from './database.ts'
import { hasRecords } from './migrate-up.ts'

/** Least schema this release runs with, and the level of its own migrations. */
export const SCHEMA = { requires: 13, level: 14 } as const

export type SchemaCompatibility = {
  /** `too_old`: wait for migrations. `too_new`: an older release must not run here; roll forward. */
  readonly state: 'ok' | 'too_old' | 'too_new'
  /** Highest migration that was applied; 0 before the first. */
  readonly schema: number
  /** Lowest application level that still works. */
  readonly floor: number
  readonly requires: number
  readonly level: number
}

/** Whether this release can work with the schema it finds. A reading; throws only when the database does not answer. */
export async function schemaCompatibility(
  database: Database,
  { requires, level }: { readonly requires: number; readonly level: number } = SCHEMA,
): Promise<SchemaCompatibility> {
  if (!(await hasRecords(database.query))) return { state: 'too_old', schema: 0, floor: 0, requires, level }
  const found = await database.query
    .selectFrom('schema_floor')
    .select([
      'floor',
      (eb) =>
        eb
          .selectFrom('schema_migrations')
          .select((m) => m.fn.max('version').as('v'))
          .as('schema'),
    ])
    .executeTakeFirstOrThrow()
  const schema = found.schema ?? 0
  const state = found.floor > level ? 'too_new' : schema < requires ? 'too_old' : 'ok'
  return { state, schema, floor: found.floor, requires, level }
}
