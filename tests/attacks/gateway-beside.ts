import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gatewayConfiguration, startGateway } from '@caracal/gateway'
import { createLogger, type RunningService } from '@caracal/service'
import type { World } from '../../apps/sts/src/test-support/world.ts'

const key = () => randomBytes(32).toString('hex')

/** The keys that an STS and the Gateways beside it share. */
export function sharedKeys(): Readonly<Record<string, string>> {
  return { STREAMS_HMAC_KEY: key(), AUDIT_HMAC_KEY: key(), GATEWAY_STS_HMAC_KEY: key() }
}

/** A Gateway in this process with settings of its own, beside the STS of a world that has the same keys. */
export async function startGatewayBeside(world: World, environment: Readonly<Record<string, string>>): Promise<RunningService> {
  const spool = mkdtempSync(join(tmpdir(), 'caracal-beside-'))
  const config = gatewayConfiguration.parse({
    CARACAL_MODE: 'dev',
    HOST: '127.0.0.1',
    PORT: '0',
    METRICS_PORT: '0',
    LOG_LEVEL: 'silent',
    STS_URL: world.sts.address.url,
    STREAMS_DRIVER: 'postgres',
    SPOOL_DIR: spool,
    ...environment,
  })
  const gateway = await startGateway(config, { streams: world.streams, logger: createLogger({ name: 'gateway', level: 'silent' }) })
  return {
    ...gateway,
    stop: async () => {
      const report = await gateway.stop()
      rmSync(spool, { recursive: true, force: true })
      return report
    },
  }
}
