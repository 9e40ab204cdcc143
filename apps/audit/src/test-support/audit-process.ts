/** Audit as a process of its own, to be killed: takes its environment as JSON, prints `ready`, dies when it is killed. */

import { openDatabase } from '@caracal/postgres'
import { createLogger } from '@caracal/service'
import { openStreams } from '@caracal/streams'
import { auditConfiguration, startAudit } from '../index.ts'

const environment = JSON.parse(process.argv[2] ?? '{}') as Record<string, string>
const config = auditConfiguration.parse(environment)
const logger = createLogger({ name: 'audit', level: 'warn' })
const database = await openDatabase({ url: environment.DATABASE_URL ?? '', pool: 6 })
// What a dead consumer had in hand goes to the next one soon, not after half a minute.
const common = { keys: config.STREAMS_HMAC_KEY, logger, timing: { reclaimMs: 1_500, retryMs: 100 } }
const streams =
  config.STREAMS_DRIVER === 'redis' && environment.REDIS_URL !== undefined
    ? openStreams({ ...common, driver: 'redis', url: environment.REDIS_URL })
    : openStreams({ ...common, driver: 'postgres', database })
await startAudit(config, { database, streams, logger })
process.stdout.write('ready\n')
