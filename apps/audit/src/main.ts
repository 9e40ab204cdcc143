import { createLogger, type Environment, type RunningService } from '@caracal/service'
import { auditConfiguration } from './configuration.ts'
import { startAudit } from './service.ts'

/** The role `audit` of `caracal serve`: configured by the environment and nothing else. Secrets are kept out of the log by value. */
export async function main(environment: Environment): Promise<RunningService> {
  const config = auditConfiguration.parse(environment)
  const logger = createLogger({ name: 'audit', level: config.LOG_LEVEL, secrets: auditConfiguration.secrets(environment) })
  return startAudit(config, { logger })
}
