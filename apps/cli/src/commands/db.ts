import { createServiceRoles, initDatabase, type MigrationStatus, migrateUp, migrationStatus, schemaCompatibility } from '@caracal/postgres'
import { RELEASE } from '@caracal/service'
import { CliError } from '../cli-error.ts'
import { databaseLogin } from '../database-login.ts'
import { table } from '../output.ts'
import { databaseFindings, placeFacts } from '../preflight/database-findings.ts'
import { faultClass } from '../preflight/fault-class.ts'
import { type Finding, fails, holds, tell } from '../preflight/finding.ts'
import { withDatabase } from '../with-database.ts'
import type { CommandContext } from './command.ts'
import { budgetFinding, type PreflightOptions, plansOf, streamsFindings, trustBundle } from './preflight.ts'

/** Version table and what needs elevated rights. Any number of times, before or after `migrate up`. */
export async function dbInit({ output, env }: CommandContext, options: { readonly roles?: boolean } = {}): Promise<void> {
  await withDatabase(env, async (database) => {
    if (options.roles === true) {
      await createServiceRoles(database)
      output.line(output.json ? JSON.stringify({ roles: true }) : 'The roles of the services exist.')
    } else {
      await initDatabase(database)
      output.line(output.json ? JSON.stringify({ initialised: true }) : 'The database is initialised.')
    }
  })
}

export type MigrateOptions = Pick<PreflightOptions, 'replicas' | 'pool'> & { readonly preflight: boolean }

/** Initialises if needed and applies all pending migrations under one lock. */
export async function dbMigrateUp(command: CommandContext, options: MigrateOptions): Promise<void> {
  if (options.preflight) return await migrateStepwise(command, options)
  const { output, env } = command
  await withDatabase(env, async (database) => {
    const applied = await migrateUp(database, { app: RELEASE, onProgress: (migration) => output.note(`applying ${migration.name}`) })
    if (output.json) output.line(JSON.stringify({ applied }))
    else output.line(applied.length === 0 ? 'The schema is current; nothing to apply.' : `Applied ${applied.length} migrations.`)
  })
}

/** For a Job: first whether the stores are what they must be, then the migrations; one line for each step, JSON unless a person looks. */
async function migrateStepwise({ output, env }: CommandContext, options: MigrateOptions): Promise<void> {
  const plans = plansOf(options)
  const terminal = !output.json && process.stdout.isTTY === true
  let failed: Finding | undefined
  const step = (finding: Finding) => {
    tell(output, finding, terminal)
    if (!finding.ok) failed ??= finding
  }
  try {
    trustBundle(env)
    const dev = env.CARACAL_MODE === 'dev'
    const login = databaseLogin(env)
    for await (const one of databaseFindings(login, { dev, migrates: true, budget: (most) => budgetFinding(plans, most) })) step(one)
    for await (const one of streamsFindings(env, dev)) step(one)
    if (failed === undefined) {
      await withDatabase(env, async (database) => {
        const onProgress = ({ version, name }: { version: number; name: string }) =>
          step(holds('migrate', `applying ${version} ${name}`, { version }))
        const applied = await migrateUp(database, { app: RELEASE, onProgress })
        step(
          holds('schema', applied.length === 0 ? 'current; nothing to apply' : `applied ${applied.length} migrations`, placeFacts(login)),
        )
      })
    }
  } catch (error) {
    if (!(error instanceof CliError)) throw error
    step(fails('migrate', faultClass(error), error.message, error.fix))
  }
  if (failed !== undefined) throw new CliError(`Nothing was migrated further: ${failed.message}`, failed.fix)
}

/**
 * Exit code 0 when this version can work with the schema, also when a newer one has added to it; 3 when migrations are pending; 4 when it
 * cannot: an applied migration was changed, or the schema demands a newer version.
 */
export async function dbStatus({ output, env }: CommandContext): Promise<void> {
  await withDatabase(env, async (database) => {
    const [migrations, compatibility] = [await migrationStatus(database), await schemaCompatibility(database)]
    if (output.json) output.line(JSON.stringify({ ...compatibility, migrations }))
    else {
      const rows = migrations.map(({ name, state, appliedAt }) => [
        name,
        state,
        appliedAt === null ? '-' : new Date(appliedAt).toISOString(),
      ])
      for (const line of table(['migration', 'state', 'applied'], rows)) output.line(line)
      output.line()
      output.line(verdict(migrations, compatibility))
    }
    process.exitCode = statusCode(migrations, compatibility)
  })
}

type Compatibility = Awaited<ReturnType<typeof schemaCompatibility>>

function statusCode(migrations: readonly MigrationStatus[], { state }: Compatibility): number {
  if (state === 'too_new' || migrations.some((one) => one.state === 'changed')) return 4
  return migrations.some((one) => one.state === 'pending') ? 3 : 0
}

function verdict(migrations: readonly MigrationStatus[], { schema, floor, level }: Compatibility): string {
  if (floor > level) return `The schema demands a version of level ${floor} or higher; this one is of level ${level}: roll forward.`
  const changed = migrations.find((one) => one.state === 'changed')
  if (changed !== undefined) return `The migration ${changed.name} was changed after it ran.`
  if (schema > level) return `The schema is at level ${schema}; this version, of level ${level}, can work with it.`
  return schema === level
    ? `The schema is current: level ${level}.`
    : `The schema is at level ${schema}, this version is of level ${level}.`
}
