import {
  defineConfiguration,
  loadSettings,
  parseTrustedProxy,
  serviceSettings,
  setting,
  streamsSettings,
  type Values,
} from '@caracal/service'

const settings = {
  ...serviceSettings(8081),
  STS_URL: setting.url({ meaning: 'Where the STS is: configuration, revocations and credentials come from it.' }),
  ...streamsSettings,
  DATABASE_URL: setting.url({
    meaning: 'Where Postgres is, with STREAMS_DRIVER=postgres only: for the streams and nothing else.',
    schemes: ['postgres', 'postgresql'],
    credentials: true,
    secret: true,
    optional: true,
  }),
  ...loadSettings,
  GATEWAY_STS_HMAC_KEY: setting.key({ meaning: 'Signs calls to the STS and encrypts the secrets in them.' }),
  GATEWAY_BASE_DOMAIN: setting.string({
    meaning: 'Requests to {resource name}.<this domain> are routed by host; unset = off.',
    optional: true,
  }),
  UPSTREAM_HOST_ALLOWLIST: setting.list({
    meaning: 'Hosts the Gateway may call at all, `.example.com` for everything below; empty = those of registered resources.',
    default: [],
  }),
  MAX_REQUEST_BYTES: setting.integer({
    meaning: 'Largest body of any request, whatever its resource allows.',
    min: 0,
    max: 1024 ** 3,
    default: 1024 ** 3,
  }),
  APPLICATION_RATE: setting.integer({
    meaning: 'Calls per second of one application at this replica, with a burst of as many; more are refused with 429. 0 = no limit.',
    min: 0,
    max: 1_000_000,
    default: 1_000,
  }),
  UNPROVEN_RATE: setting.integer({
    meaning:
      'Calls per second from one source whose mandate does not hold, with a burst of as many; more are refused with 429 before any signature is checked. 0 = no limit.',
    min: 0,
    max: 1_000_000,
    default: 1_000,
  }),
  SPOOL_DIR: setting.string({ meaning: 'Directory of the evidence spool.', default: './spool' }),
  SPOOL_MAX_BYTES: setting.integer({
    meaning: 'Bytes of evidence that may wait for the ledger; at that many no call is forwarded.',
    min: 65_536,
    default: 1024 * 1024 * 1024,
  }),
  EVIDENCE: setting.oneOf(['write-ahead', 'async'], {
    meaning: 'What an effect waits for: fsync in the spool, or nothing (dev only).',
    default: 'write-ahead',
  }),
  REVOCATION_MAX_AGE: setting.duration({
    meaning: 'Older proof of freshness than this and every call is refused.',
    min: 2_000,
    max: 60_000,
    default: 5_000,
  }),
}

/** The environment of the Gateway. */
export const gatewayConfiguration = defineConfiguration(settings, (values) => {
  const problems: { name: string; rule: string }[] = []
  if (values.TRUSTED_PROXIES.some((text) => parseTrustedProxy(text) === null))
    problems.push({ name: 'TRUSTED_PROXIES', rule: 'must be addresses or CIDRs' })
  if (values.CARACAL_MODE !== 'dev' && values.EVIDENCE === 'async') problems.push({ name: 'EVIDENCE', rule: 'may be async in dev only' })
  return problems
})

export type GatewayConfiguration = Values<typeof settings>
