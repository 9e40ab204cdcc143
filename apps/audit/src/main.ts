import type { Environment, RunningService } from '@caracal/service'
import { auditConfiguration } from './configuration.ts'
import { startAudit } from './service.ts'

/** The role `audit` of `caracal serve`: configured by the environment and nothing else. */
export async function main(environment: Environment): Promise<RunningService> {
  return startAudit(auditConfiguration.parse(environment))
}
