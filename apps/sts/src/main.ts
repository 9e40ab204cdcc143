import type { Environment, RunningService } from '@caracal/service'
import { stsConfiguration } from './configuration.ts'
import { startSts } from './service.ts'

/** The role `sts` of `caracal serve`: configured by the environment and nothing else. */
export async function main(environment: Environment): Promise<RunningService> {
  return startSts(stsConfiguration.parse(environment))
}
