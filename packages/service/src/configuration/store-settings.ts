import { setting } from './kinds.ts'

/** How a role reaches Postgres; spread it into the role's own. */
export const databaseSettings = {
  DATABASE_URL: setting.url({
    meaning: 'Where Postgres is. Not needed when the process hands an open database over.',
    schemes: ['postgres', 'postgresql'],
    credentials: true,
    secret: true,
    optional: true,
  }),
  DATABASE_POOL: setting.integer({ meaning: 'Most connections to Postgres.', min: 2, max: 200, default: 10 }),
}

/** How a role reaches the streams, and what authenticates its messages and its evidence. */
export const streamsSettings = {
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
}
