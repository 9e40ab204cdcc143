import { createLogger, type Environment, type RunningService } from '@caracal/service'
import { coordinatorConfiguration } from './configuration.ts'
import { startCoordinator } from './service.ts'

/** The role `coordinator` of `caracal serve`: configured by the environment and nothing else. Secrets are kept out of the log by value. */
export async function main(environment: Environment): Promise<RunningService> {
  const config = coordinatorConfiguration.parse(environment)
  const logger = createLogger({ name: 'coordinator', level: config.LOG_LEVEL, secrets: coordinatorConfiguration.secrets(environment) })
  return startCoordinator(config, { logger })
}
