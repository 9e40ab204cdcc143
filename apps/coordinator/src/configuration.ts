import { databaseSettings, defineConfiguration, serviceSettings, setting, streamsSettings, type Values } from '@caracal/service'

const settings = {
  ...serviceSettings(4000),
  ...databaseSettings,
  ...streamsSettings,
  ISSUER_URL: setting.url({ meaning: 'Public base URL; every zone’s issuer is {ISSUER_URL}/zones/{zone id}.' }),
  ISSUER_ALIASES: setting.list({ meaning: 'Former issuer URLs whose mandates are still accepted while it moves.', default: [] }),
  REVOCATION_MAX_AGE: setting.duration({
    meaning: 'Older proof of freshness than this and no mandate is accepted.',
    min: 2_000,
    max: 60_000,
    default: 5_000,
  }),
  COORDINATOR_TOKEN: setting.secret({ meaning: 'Lets operators manage sessions and delegations; absent, there is none.', optional: true }),
  SESSIONS_PER_ZONE: setting.integer({ meaning: 'Live sessions in one zone.', min: 1, max: 1_000_000, default: 10_000 }),
  SESSIONS_PER_APPLICATION: setting.integer({ meaning: 'Live sessions of one application.', min: 1, max: 1_000_000, default: 1_000 }),
  SESSIONS_PER_PARENT: setting.integer({ meaning: 'Live children of one session.', min: 1, max: 100_000, default: 100 }),
  SESSION_DEPTH: setting.integer({ meaning: 'Sessions in one lineage, the root included.', min: 1, max: 10, default: 10 }),
  SWEEP_INTERVAL: setting.duration({
    meaning: 'How often sessions whose time is over are marked ended. Their authority ends by time in any case.',
    min: 100,
    max: 3_600_000,
    default: 5_000,
  }),
}

/** The environment of the Coordinator. */
export const coordinatorConfiguration = defineConfiguration(settings)

export type CoordinatorConfiguration = Values<typeof settings>
