import { ConfigurationError, type RunningService, SchemaTooNew } from '@caracal/service'
import { CliError } from '../cli-error.ts'
import { KekMismatch } from '../compact/kek.ts'
import { EDGE_ROLES, isEdge } from '../compact/role-environment.ts'
import type { CompactService } from '../compact/start-compact.ts'
import { ROLES, type Role } from '../roles.ts'
import { onStopRequest } from '../stop-request.ts'
import type { CommandContext } from './command.ts'

/** sysexits.h EX_CONFIG: the environment is wrong; starting again does not help. */
const EX_CONFIG = 78

export type ServeOptions = {
  /** Other roles in the same process, on loopback, separated by commas. */
  readonly with?: string
  readonly migrate: boolean
}

/** One role, or several in one process, configured by the environment, until SIGTERM or SIGINT. */
export async function serve({ env }: CommandContext, role: string, options: ServeOptions): Promise<void> {
  const beside = rolesBeside(knownRole(role), options)
  const stop = onStopRequest()
  const starting = start(role as Role, async () =>
    beside === undefined ? { ...(await ROLES[role as Role](env)), failed: undefined } : await compact(role as Role, beside, options, env),
  )
  const service = await Promise.race([starting, stop.requested])
  // Asked to stop before it served anything: there is nothing to drain.
  if (service === undefined) process.exit(0)
  const failure = await (service.failed === undefined ? stop.requested : Promise.race([stop.requested, service.failed]))
  await service.stop()
  // Whoever started the process starts it again, as a whole.
  if (failure !== undefined) throw new CliError(`The roles beside ${role} ended: ${failure.message}.`)
}

/** Undefined: the role is alone. */
function rolesBeside(role: Role, options: ServeOptions): readonly Role[] | undefined {
  if (options.with === undefined) {
    if (options.migrate)
      throw new CliError('--migrate is for several roles in one process.', 'Add --with, or run `caracal db migrate up`.', { exitCode: 2 })
    return undefined
  }
  if (!isEdge(role))
    throw new CliError(`Other roles stand beside ${EDGE_ROLES.join(' or ')}, not beside ${role}.`, undefined, { exitCode: 2 })
  const beside = options.with.split(',').map((name) => knownRole(name.trim()))
  const twice = beside.find((one, at) => beside.indexOf(one) !== at || isEdge(one))
  if (twice !== undefined) throw new CliError(`${twice} cannot stand beside ${role}, or is named twice.`, undefined, { exitCode: 2 })
  if (!beside.includes('sts'))
    throw new CliError(`${role} asks the STS for what it decides with: --with needs sts.`, undefined, { exitCode: 2 })
  return beside
}

function knownRole(name: string): Role {
  if (!Object.hasOwn(ROLES, name))
    throw new CliError(`There is no role ${name}.`, `Roles: ${Object.keys(ROLES).join(', ')}.`, { exitCode: 2 })
  return name as Role
}

async function compact(role: Role, beside: readonly Role[], { migrate }: ServeOptions, env: NodeJS.ProcessEnv): Promise<CompactService> {
  const { startCompact } = await import('../compact/start-compact.ts')
  return await startCompact({ role, beside, migrate, environment: env })
}

async function start<Service extends RunningService>(role: Role, begin: () => Promise<Service>): Promise<Service> {
  try {
    return await begin()
  } catch (error) {
    if (error instanceof SchemaTooNew) throw new CliError(`${role} does not start: ${error.message}.`, undefined, { exitCode: EX_CONFIG })
    if (error instanceof KekMismatch)
      throw new CliError(
        `${role} cannot open the key of this installation: ${error.message}.`,
        'Put the former one back; or take the new one over with `caracal kek adopt`.',
        { exitCode: EX_CONFIG },
      )
    if (!(error instanceof ConfigurationError)) throw error
    throw new CliError(
      `The configuration of ${role} is wrong; it does not start.`,
      'docs/reference/configuration.md lists every setting.',
      {
        exitCode: EX_CONFIG,
        lines: error.problems.map((problem) => `${problem.name} ${problem.rule}`),
      },
    )
  }
}
