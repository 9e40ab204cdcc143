import { sql, type Transaction } from 'kysely'
import { timestamp } from './column.ts'
import type { Database } from './database.ts'
import { type Migration, readMigrations } from './migration-files.ts'
import type { Tables } from './tables.ts'

/** One lock for every runner on a database: "caracalM" as a 64-bit number, so that it meets no other lock (P-134). */
const RUNNER_LOCK = 0x63617261n * 2n ** 32n + 0x63616c4dn

export type MigrationProgress = {
  readonly version: number
  readonly name: string
  readonly step: 'applying' | 'applied'
  readonly durationMs?: number
}

export type MigrateOptions = {
  readonly onProgress?: (progress: MigrationProgress) => void
  /** Version of the application that migrates; recorded. */
  readonly app?: string
  /** Where the migrations are; those of this package unless a test says otherwise. */
  readonly dir?: URL
}

/** A migration that ran has another text now: nothing may run until that is undone. */
export class MigrationChanged extends Error {
  override readonly name = 'MigrationChanged'
}

/**
 * Makes what records migrations: `schema_migrations` and `schema_floor`. Any number of times, before or after `migrateUp`,
 * also by several runners at once.
 */
export async function initDatabase(database: Database): Promise<void> {
  await database.transaction(async (tx) => {
    await holdRunnerLock(tx)
    await createRecords(tx)
  })
}

/**
 * Applies every migration that is missing, in order, each in its own transaction under the runner lock, after checking that
 * those applied are unchanged. Any number of times, also by several runners at once. Returns what this run applied.
 */
export async function migrateUp(database: Database, options: MigrateOptions = {}): Promise<readonly Migration[]> {
  const migrations = await readMigrations(options.dir)
  const applied: Migration[] = []
  for (;;) {
    const done = await database.transaction((tx) => applyNext(tx, migrations, options))
    if (done === undefined) return applied
    applied.push(done)
  }
}

export type MigrationStatus = {
  readonly applied: readonly { readonly version: number; readonly name: string; readonly appliedAt: number; readonly durationMs: number }[]
  readonly pending: readonly { readonly version: number; readonly name: string }[]
  /** Applied, but with another text than the file of this release. */
  readonly changed: readonly string[]
}

/** What ran, what is missing, what changed since it ran. Reads only; a database that was never initialised has everything pending. */
export async function migrationStatus(database: Database, options: Pick<MigrateOptions, 'dir'> = {}): Promise<MigrationStatus> {
  const migrations = await readMigrations(options.dir)
  const records = (await hasRecords(database.query))
    ? await database.query.selectFrom('schema_migrations').selectAll().orderBy('version').execute()
    : []
  const known = new Map(records.map((record) => [record.version, record]))
  return {
    applied: records.map((r) => ({ version: r.version, name: r.name, appliedAt: r.applied_at, durationMs: r.duration_ms })),
    pending: migrations.filter((m) => !known.has(m.version)).map(({ version, name }) => ({ version, name })),
    changed: migrations.filter((m) => (known.get(m.version)?.sha256 ?? m.sha256) !== m.sha256).map(fileName),
  }
}

/** Whether the tables that record migrations exist. */
export async function hasRecords(db: Database['query'] | Transaction<Tables>): Promise<boolean> {
  const { rows } = await sql<{ found: boolean }>`select to_regclass('schema_floor') is not null as found`.execute(db)
  return rows[0]?.found === true
}

async function applyNext(
  tx: Transaction<Tables>,
  migrations: readonly Migration[],
  options: MigrateOptions,
): Promise<Migration | undefined> {
  await holdRunnerLock(tx)
  await createRecords(tx)
  const records = await tx.selectFrom('schema_migrations').select(['version', 'sha256']).execute()
  const known = new Map(records.map((record) => [record.version, record.sha256]))
  for (const migration of migrations) {
    if ((known.get(migration.version) ?? migration.sha256) !== migration.sha256) {
      throw new MigrationChanged(
        `migration ${fileName(migration)} was changed after it ran; restore its text and add a new migration instead`,
      )
    }
  }
  const next = migrations.find((migration) => !known.has(migration.version))
  if (next === undefined) return undefined

  options.onProgress?.({ version: next.version, name: next.name, step: 'applying' })
  const started = performance.now()
  await runScript(tx, next.sql)
  const durationMs = Math.round(performance.now() - started)
  await tx
    .insertInto('schema_migrations')
    .values({
      version: next.version,
      name: next.name,
      sha256: next.sha256,
      phase: next.phase,
      app_version: options.app ?? 'unknown',
      applied_at: timestamp(Date.now()),
      duration_ms: durationMs,
    })
    .execute()
  options.onProgress?.({ version: next.version, name: next.name, step: 'applied', durationMs })
  return next
}

/** Waits for other runners as long as they take: a migration may be slower than any statement of a service. */
async function holdRunnerLock(tx: Transaction<Tables>): Promise<void> {
  await sql`set local statement_timeout = 0`.execute(tx)
  await sql`set local lock_timeout = 0`.execute(tx)
  await sql`select pg_advisory_xact_lock(${RUNNER_LOCK.toString()}::bigint)`.execute(tx)
}

async function createRecords(tx: Transaction<Tables>): Promise<void> {
  if (await hasRecords(tx)) return
  await runScript(
    tx,
    `CREATE TABLE schema_migrations (
       version integer PRIMARY KEY,
       name text NOT NULL,
       sha256 text NOT NULL,
       phase text NOT NULL CHECK (phase IN ('expand', 'contract')),
       app_version text NOT NULL,
       applied_at timestamptz NOT NULL,
       duration_ms integer NOT NULL
     );
     -- The lowest schema level of an application that still works; one row.
     CREATE TABLE schema_floor (single boolean PRIMARY KEY DEFAULT true CHECK (single), floor integer NOT NULL);
     INSERT INTO schema_floor (floor) VALUES (0);`,
  )
}

/** Several statements at once: both drivers take one statement per message, but EXECUTE takes a script. */
async function runScript(tx: Transaction<Tables>, script: string): Promise<void> {
  const quote = '$caracal_script$'
  if (script.includes(quote)) throw new Error(`a migration must not contain ${quote}`)
  await sql.raw(`DO $caracal_run$ BEGIN EXECUTE ${quote}${script}${quote}; END $caracal_run$`).execute(tx)
}

function fileName({ version, name }: { version: number; name: string }): string {
  return `${String(version).padStart(4, '0')}_${name}.sql`
}
