import { databaseSettings, defineConfiguration, serviceSettings, setting, streamsSettings, type Values } from '@caracal/service'

const settings = {
  ...serviceSettings(3000),
  ...databaseSettings,
  ...streamsSettings,
  GATEWAY_STS_HMAC_KEY: setting.key({ meaning: 'Signs internal calls and encrypts the secrets in them.' }),
  STS_URL: setting.url({ meaning: 'Where the STS is: it seals secrets.' }),
  ADMIN_TOKEN: setting.secret({ meaning: 'Break-glass token with every role; absent, there is none.', optional: true }),
}

/** The environment of the API. */
export const apiConfiguration = defineConfiguration(settings)

export type ApiConfiguration = Values<typeof settings>
