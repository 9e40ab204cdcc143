import { defineConfiguration, serviceSettings, setting, type Values } from '@caracal/service'
import { anchorProblem } from './checkpoint/anchor.ts'

const settings = {
  ...serviceSettings(9090),
  DATABASE_URL: setting.url({
    meaning: 'Where Postgres is. Not needed when the process hands an open database over.',
    schemes: ['postgres', 'postgresql'],
    credentials: true,
    secret: true,
    optional: true,
  }),
  DATABASE_POOL: setting.integer({ meaning: 'Most connections to Postgres.', min: 2, max: 200, default: 10 }),
  STREAMS_DRIVER: setting.oneOf(['redis', 'postgres'], { meaning: 'What carries the streams.', default: 'redis' }),
  REDIS_URL: setting.url({
    meaning: 'Where Redis is, for STREAMS_DRIVER=redis.',
    schemes: ['redis', 'rediss'],
    credentials: true,
    secret: true,
    optional: true,
  }),
  STREAMS_HMAC_KEY: setting.key({ meaning: 'Authenticates messages on the streams.' }),
  AUDIT_HMAC_KEY: setting.key({ meaning: 'Authenticates evidence on its way to the ledger.' }),
  ZONE_KEK: setting.key({ meaning: 'Seals the log keys of the zones.' }),
  ISSUER_URL: setting.url({
    meaning: 'Public base URL of the STS; the origin of a zone’s log is {ISSUER_URL without scheme}/zones/{zone id}.',
  }),
  INGEST_BATCH: setting.integer({ meaning: 'Most events that are taken from the stream at once.', min: 1, max: 5_000, default: 1_024 }),
  AUDIT_ANCHORS: setting.list({
    meaning: 'Where every checkpoint is copied to, out of the database’s reach: `file:///path/of/anchors.jsonl`.',
    default: [],
  }),
  ADMIN_TOKEN: setting.secret({ meaning: 'The API’s break-glass token, when it shall count here too.', optional: true }),
  AUDIT_ADMIN_TOKEN: setting.secret({
    meaning: 'Reads and exports evidence of every zone; absent, only stored tokens do.',
    optional: true,
  }),
}

/** The environment of Audit. */
export const auditConfiguration = defineConfiguration(settings, (values) =>
  values.AUDIT_ANCHORS.flatMap((anchor) => {
    const rule = anchorProblem(anchor)
    return rule === undefined ? [] : [{ name: 'AUDIT_ANCHORS', rule }]
  }),
)

export type AuditConfiguration = Values<typeof settings>
