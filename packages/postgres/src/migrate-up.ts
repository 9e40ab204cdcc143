import type { UnixMillis } from '@caracal/core'
import { sql, type Transaction } from 'kysely'
import { timestamp } from './column.ts'
import type { Database } from './database.ts'
import { type Migration, readMigrations } from './migration-files.ts'
import type { Tables } from './tables.ts'

/** One lock for every runner on a database: "caracalM" as a 64-bit number, so that it meets no other lock (P-134). */
const RUNNER_LOCK = 0x63617261n * 2n ** 32n + 0x63616c4dn

export type AppliedMigration = { readonly version: number; readonly name: string; readonly durationMs: number }

export type MigrateOptions = {
  /** Called before each migration that is applied. */
  readonly onProgress?: (migration: { readonly version: number; readonly name: string }) => void
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
export async function migrateUp(database: Database, options: MigrateOptions = {}): Promise<readonly AppliedMigration[]> {
  const migrations = await readMigrations(options.dir)
  const applied: AppliedMigration[] = []
  for (;;) {
    const done = await database.transaction((tx) => applyNext(tx, migrations, options))
    if (done === undefined) return applied
    applied.push(done)
  }
}

export type MigrationStatus = {
  readonly version: number
  readonly name: string
  /** `changed`: applied, but with another text than this release has. `unknown`: applied by a newer release. */
  readonly state: 'applied' | 'pending' | 'changed' | 'unknown'
  readonly appliedAt: UnixMillis | null
  readonly durationMs: number | null
}

/** Every migration, ascending, and what became of it. Reads only; before the first run everything is pending. */
export async function migrationStatus(database: Database, options: Pick<MigrateOptions, 'dir'> = {}): Promise<readonly MigrationStatus[]> {
  const migrations = await readMigrations(options.dir)
  const records = (await hasRecords(database.query)) ? await database.query.selectFrom('schema_migrations').selectAll().execute() : []
  const files = new Map(migrations.map((migration) => [migration.version, migration]))
  const applied = records.map((record): MigrationStatus => {
    const file = files.get(record.version)
    const state = file === undefined ? 'unknown' : file.sha256 === record.sha256 ? 'applied' : 'changed'
    return { version: record.version, name: record.name, state, appliedAt: record.applied_at, durationMs: record.duration_ms }
  })
  const known = new Set(records.map((record) => record.version))
  const pending = migrations
    .filter((migration) => !known.has(migration.version))
    .map(({ version, name }): MigrationStatus => ({ version, name, state: 'pending', appliedAt: null, durationMs: null }))
  return [...applied, ...pending].sort((a, b) => a.version - b.version)
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
): Promise<AppliedMigration | undefined> {
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

  options.onProgress?.({ version: next.version, name: next.name })
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
  return { version: next.version, name: next.name, durationMs }
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
