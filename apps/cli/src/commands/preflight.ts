import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { trustAuthorities } from '@caracal/service'
import { CliError } from '../cli-error.ts'
import { databaseLogin, namesDatabase } from '../database-login.ts'
import { connectionBudget, type RolePlan } from '../preflight/connection-budget.ts'
import { databaseFindings } from '../preflight/database-findings.ts'
import { egressEndpoints, egressFindings } from '../preflight/egress-findings.ts'
import { asRecord, type Finding, fails, holds, tell, warns } from '../preflight/finding.ts'
import { redisFindings } from '../preflight/redis-findings.ts'
import { secretFindings } from '../preflight/secret-findings.ts'
import { readSecretFile } from '../secret-file.ts'
import type { CommandContext } from './command.ts'

export type PreflightOptions = {
  readonly replicas: readonly string[]
  readonly pool: readonly string[]
  /** Folder of the mounted runtime Secret. */
  readonly secrets?: string
  /** True: what the environment says is called; a list: that and these. Absent: nothing is dialled. */
  readonly egress?: true | readonly string[]
}

/** Roles with a pool of their own; the Gateway has no database. */
const POOLED = ['sts', 'api', 'audit', 'coordinator'] as const
const DEFAULT = { replicas: 1, pool: 10 } as const

/**
 * Looks at what an installation or a scale-out needs, before it: the database, Redis, the Secret, clocks, names and ways out. Exit code
 * 1 when something does not hold. Nothing is changed.
 */
export async function preflight({ output, env }: CommandContext, options: PreflightOptions): Promise<void> {
  const plans = plansOf(options)
  trustBundle(env)
  const found: Finding[] = []
  for await (const finding of lookAtAll(env, plans, options)) {
    found.push(finding)
    // One document with --json; else a line for each: a table for a person, JSON for a pipe.
    if (!output.json) tell(output, finding, process.stdout.isTTY === true)
  }
  const ok = found.every((one) => one.ok)
  if (output.json) output.line(JSON.stringify({ ok, checks: found.map(asRecord) }))
  const [first, ...more] = found.filter((one) => !one.ok)
  if (first === undefined) return
  throw new CliError(`${first.message}${more.length === 0 ? '' : ` (and ${more.length} more)`}`, first.fix)
}

async function* lookAtAll(env: NodeJS.ProcessEnv, plans: readonly RolePlan[], options: PreflightOptions): AsyncGenerator<Finding> {
  const dev = env.CARACAL_MODE === 'dev'
  if (options.egress !== undefined && !namesDatabase(env)) {
    // In a pod without a database of its own, the Gateway's, only the ways out can be looked at.
    yield warns(fails('database', 'configuration', 'no database is named here: it was not looked at', 'Run it where DATABASE_URL is set.'))
  } else yield* databaseFindings(databaseLogin(env), { dev, migrates: true, budget: (most) => budgetFinding(plans, most) })
  yield* streamsFindings(env, dev)
  if (options.secrets !== undefined) yield* secretFindings(options.secrets, env.STREAMS_DRIVER ?? 'redis')
  if (options.egress !== undefined) yield* await egressFindings(egressEndpoints(env, options.egress === true ? [] : options.egress))
}

/** Redis where it carries the streams. */
export async function* streamsFindings(env: NodeJS.ProcessEnv, dev: boolean): AsyncGenerator<Finding> {
  if (env.STREAMS_DRIVER === 'postgres') {
    yield holds('redis', 'the streams are carried by Postgres')
    return
  }
  const file = env.REDIS_URL_FILE
  const url = file ? readSecretFile(file, 'The file that REDIS_URL_FILE names').trim() : env.REDIS_URL
  if (url) yield* redisFindings(url, file ? basename(file) : 'REDIS_URL', dev)
  else
    yield warns(
      fails('redis', 'configuration', 'REDIS_URL is not set: Redis was not looked at', 'Set REDIS_URL, or STREAMS_DRIVER=postgres.'),
    )
}

/** Authorities that are trusted beside the system's, as the services take them. */
export function trustBundle(env: NodeJS.ProcessEnv): void {
  if (!env.CA_BUNDLE_FILE) return
  try {
    trustAuthorities(readFileSync(env.CA_BUNDLE_FILE, 'utf8'))
  } catch {
    throw new CliError('The file that CA_BUNDLE_FILE names cannot be read.', undefined, { exitCode: 2 })
  }
}

/** Whether all replicas together stay within what the database takes. */
export function budgetFinding(plans: readonly RolePlan[], maxConnections: number): Finding {
  const { ok, needed, allowed } = connectionBudget(plans, maxConnections)
  const facts = { needed, allowed, maxConnections, roles: plans }
  if (ok) return holds('connections', `${needed} of ${allowed} (80 % of the database's ${maxConnections})`, facts)
  return fails(
    'connections',
    'capacity',
    `all replicas together may open ${needed} connections, the database should be asked for ${allowed} (80 % of its ${maxConnections})`,
    'Lower the replicas or DATABASE_POOL, put a pooler in between, or raise max_connections.',
    facts,
  )
}

/** @throws CliError for a role that has no pool, or a number that is none. */
export function plansOf(options: Pick<PreflightOptions, 'replicas' | 'pool'>): readonly RolePlan[] {
  const replicas = numbersByRole('--replicas', options.replicas)
  const pools = numbersByRole('--pool', options.pool)
  return POOLED.map((role) => ({ role, replicas: replicas.get(role) ?? DEFAULT.replicas, pool: pools.get(role) ?? DEFAULT.pool }))
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
