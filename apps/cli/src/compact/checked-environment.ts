import { randomBytes } from 'node:crypto'
import { ConfigurationError, type ConfigurationProblem, type Environment, type RoleListeners } from '@caracal/service'
import { CONFIGURATIONS } from '../role-configurations.ts'
import type { Role } from '../roles.ts'
import { type CompactConfiguration, compactConfiguration } from './compact-settings.ts'
import { environmentOf } from './role-environment.ts'

/** What the process takes, and where the role at its edge listens. */
export type Checked = { readonly config: CompactConfiguration; readonly edge: RoleListeners }

/** Parses what the process and each of its roles take. @throws ConfigurationError with everything that is wrong in any of them. */
export function checkedEnvironment(role: Role, beside: readonly Role[], environment: Environment): Checked {
  const problems: ConfigurationProblem[] = []
  const config = collect(problems, () => compactConfiguration.parse(environment))
  // Keys and addresses come from the process: any will do for a look at the rest.
  const keys = { ZONE_KEK: anyKey(), AUDIT_HMAC_KEY: anyKey(), STREAMS_HMAC_KEY: anyKey(), GATEWAY_STS_HMAC_KEY: anyKey() }
  const own = config ?? compactConfiguration.parse({ DB_HOST: 'postgres', DB_PASSWORD: anyKey() })
  const parse = (one: Role): RoleListeners =>
    CONFIGURATIONS[one].parse(environmentOf(one, { environment, config: own, keys, sts: 'http://127.0.0.1' }))
  const edge = collect(problems, () => parse(role))
  for (const one of beside) collect(problems, () => parse(one))
  if (config !== undefined && edge !== undefined && problems.length === 0) return { config, edge }
  throw new ConfigurationError([...new Map(problems.map((problem) => [`${problem.name} ${problem.rule}`, problem])).values()])
}

function collect<T>(problems: ConfigurationProblem[], parse: () => T): T | undefined {
  try {
    return parse()
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error
    problems.push(...error.problems)
    return undefined
  }
}

function anyKey(): string {
  return randomBytes(32).toString('hex')
}
