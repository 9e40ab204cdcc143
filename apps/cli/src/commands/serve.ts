import { ConfigurationError, type RunningService, SchemaTooNew } from '@caracal/service'
import { CliError } from '../cli-error.ts'
import { ROLES, type Role } from '../roles.ts'
import { onStopRequest } from '../stop-request.ts'
import type { CommandContext } from './command.ts'

/** sysexits.h EX_CONFIG: the environment is wrong; starting again does not help. */
const EX_CONFIG = 78

/** One role, configured by the environment, until SIGTERM or SIGINT. */
export async function serve({ env }: CommandContext, role: string): Promise<void> {
  if (!Object.hasOwn(ROLES, role))
    throw new CliError(`There is no role ${role}.`, `Roles: ${Object.keys(ROLES).join(', ')}.`, { exitCode: 2 })
  const stop = onStopRequest()
  const starting = start(role as Role, env)
  const service = await Promise.race([starting, stop.requested])
  // Asked to stop before it served anything: there is nothing to drain.
  if (service === undefined) process.exit(0)
  await stop.requested
  await service.stop()
}

async function start(role: Role, env: NodeJS.ProcessEnv): Promise<RunningService> {
  try {
    return await ROLES[role](env)
  } catch (error) {
    if (error instanceof SchemaTooNew) throw new CliError(`${role} does not start: ${error.message}.`, undefined, { exitCode: EX_CONFIG })
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
