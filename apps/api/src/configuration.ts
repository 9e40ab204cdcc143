import { defineConfiguration, serviceSettings, setting, type Values } from '@caracal/service'

const settings = {
  ...serviceSettings(3000),
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
  GATEWAY_STS_HMAC_KEY: setting.key({ meaning: 'Signs internal calls and encrypts the secrets in them.' }),
  STS_URL: setting.url({ meaning: 'Where the STS is: it seals secrets.' }),
  ADMIN_TOKEN: setting.secret({ meaning: 'Break-glass token with every role; absent, there is none.', optional: true }),
}

/** The environment of the API. */
export const apiConfiguration = defineConfiguration(settings)

export type ApiConfiguration = Values<typeof settings>
