import type { Environment, RunningService } from '@caracal/service'
import { coordinatorConfiguration } from './configuration.ts'
import { startCoordinator } from './service.ts'

/** The role `coordinator` of `caracal serve`: configured by the environment and nothing else. */
export async function main(environment: Environment): Promise<RunningService> {
  return startCoordinator(coordinatorConfiguration.parse(environment))
}
