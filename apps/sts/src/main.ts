import { createLogger, type Environment, type RunningService } from '@caracal/service'
import { stsConfiguration } from './configuration.ts'
import { startSts } from './service.ts'

/** The role `sts` of `caracal serve`: configured by the environment and nothing else. Secrets are kept out of the log by value. */
export async function main(environment: Environment): Promise<RunningService> {
  const config = stsConfiguration.parse(environment)
  const logger = createLogger({ name: 'sts', level: config.LOG_LEVEL, secrets: stsConfiguration.secrets(environment) })
  return startSts(config, { logger })
}
