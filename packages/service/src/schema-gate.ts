import { type Database, SCHEMA, schemaCompatibility } from '@caracal/postgres'

/** The schema was changed in a way that this release does not know: waiting does not help. The process should end with 78. */
export class SchemaTooNew extends Error {
  override readonly name = 'SchemaTooNew'
}

/** Migrations are missing that somebody will apply. */
export class SchemaTooOld extends Error {
  override readonly name = 'SchemaTooOld'
}

/** Resolves when this release can work with the schema that is there. @throws SchemaTooOld, SchemaTooNew, or what the database throws. */
export async function demandSchema(
  database: Database,
  release: { readonly requires: number; readonly level: number } = SCHEMA,
): Promise<true> {
  const { state, schema, floor, requires, level } = await schemaCompatibility(database, release)
  if (state === 'too_new')
    throw new SchemaTooNew(
      `the schema is too new: it demands a release of level ${floor} or higher, and this one is of level ${level}; roll forward`,
    )
  if (state === 'too_old')
    throw new SchemaTooOld(
      `the schema is too old: it is at level ${schema}, and this release needs ${requires}; run \`caracal db migrate up\``,
    )
  return true
}
