import { databaseSettings, defineConfiguration, serviceSettings, setting, streamsSettings, type Values } from '@caracal/service'
import { anchorProblem } from './checkpoint/anchor.ts'

const settings = {
  ...serviceSettings(9090),
  ...databaseSettings,
  ...streamsSettings,
  ZONE_KEK: setting.key({ meaning: 'Seals the log keys of the zones.', seals: true }),
  ISSUER_URL: setting.url({
    meaning: 'Public base URL of the STS; the origin of a zone’s log is {ISSUER_URL without scheme}/zones/{zone id}.',
  }),
  INGEST_BATCH: setting.integer({
    meaning: 'Most messages that are taken from the stream at once; one has up to some hundred events.',
    min: 1,
    max: 5_000,
    default: 128,
  }),
  AUDIT_ANCHORS: setting.list({
    meaning: 'Where every checkpoint is copied to, out of the database’s reach: `file:///path/of/anchors.jsonl`.',
    default: [],
  }),
  ADMIN_TOKEN: setting.secret({ meaning: 'The API’s break-glass token, when it shall count here too.', optional: true }),
  AUDIT_ADMIN_TOKEN: setting.secret({
    meaning: 'Reads and exports evidence of every zone; absent, only stored tokens do.',
    optional: true,
    fileMayBeAbsent: true,
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
