import { openDatabase, readMaxConnections } from '@caracal/postgres'
import { CliError } from '../cli-error.ts'
import { databaseError, partOfUrl, placeOf } from '../database-error.ts'
import { colour } from '../output.ts'
import { connectionBudget, type RolePlan } from '../preflight/connection-budget.ts'
import type { CommandContext } from './command.ts'
import { databaseUrl } from './db.ts'

export type PreflightOptions = { readonly replicas: readonly string[]; readonly pool: readonly string[] }

/** Roles with a pool of their own; the Gateway has no database. */
const POOLED = ['sts', 'api', 'audit', 'coordinator'] as const
const DEFAULT = { replicas: 1, pool: 10 } as const

/** Looks at the database before an installation or a scale-out. Exit code 1 when something does not hold; nothing is changed. */
export async function preflight({ output, env }: CommandContext, options: PreflightOptions): Promise<void> {
  const replicas = numbersByRole('--replicas', options.replicas)
  const pools = numbersByRole('--pool', options.pool)
  const plans: RolePlan[] = POOLED.map((role) => ({
    role,
    replicas: replicas.get(role) ?? DEFAULT.replicas,
    pool: pools.get(role) ?? DEFAULT.pool,
  }))
  const budget = connectionBudget(plans, await maxConnections(env))
  if (output.json) output.line(JSON.stringify({ ok: budget.ok, checks: [{ name: 'connections', ...budget, roles: plans }] }))
  else {
    const { needed, allowed, maxConnections: most } = budget
    const mark = budget.ok ? colour('green', 'ok  ') : colour('red', 'FAIL')
    output.line(`${mark} connections  ${needed} of ${allowed} (80 % of the database's ${most})`)
    for (const { role, replicas: count, pool } of plans) output.line(`       ${role}  ${count} × ${pool}`)
  }
  if (!budget.ok)
    throw new CliError(
      'All replicas together may open more connections than the database should be asked for.',
      'Lower the replicas or DATABASE_POOL, put a pooler in between, or raise max_connections.',
    )
}

async function maxConnections(env: NodeJS.ProcessEnv): Promise<number> {
  const url = databaseUrl(env)
  const database = await openDatabase({ url, pool: 2, application: 'caracal-preflight' })
  try {
    return await readMaxConnections(database.query)
  } catch (error) {
    throw databaseError(error, placeOf(url, partOfUrl('DATABASE_URL'))) ?? error
  } finally {
    await database.close()
  }
}

/** `sts=2` each; a role that has no pool, or a number that is none, is wrong use. */
function numbersByRole(option: string, given: readonly string[]): ReadonlyMap<string, number> {
  return new Map(
    given.map((text) => {
      const found = /^([a-z]+)=(\d{1,4})$/.exec(text)
      const [, role = '', number = ''] = found ?? []
      if (!POOLED.some((known) => known === role))
        throw new CliError(`${option} takes <role>=<number>, not ${text}.`, `Roles with a pool: ${POOLED.join(', ')}.`, { exitCode: 2 })
      return [role, Number(number)] as const
    }),
  )
}
