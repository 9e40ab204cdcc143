import {
  databaseSettings,
  defineConfiguration,
  evidenceProblems,
  evidenceSettings,
  loadSettings,
  serviceSettings,
  setting,
  streamsSettings,
  type Values,
} from '@caracal/service'

const settings = {
  ...serviceSettings(8080),
  ...databaseSettings,
  ...streamsSettings,
  ...loadSettings,
  GATEWAY_STS_HMAC_KEY: setting.key({ meaning: 'Signs internal calls and encrypts the secrets in them.' }),
  ZONE_KEK: setting.key({ meaning: 'Seals zone keys, peppers and provider secrets.', seals: true }),
  ISSUER_URL: setting.url({ meaning: 'Public base URL; every zone’s issuer is {ISSUER_URL}/zones/{zone id}.' }),
  ISSUER_ALIASES: setting.list({ meaning: 'Former issuer URLs whose mandates are still accepted while it moves.', default: [] }),
  ...evidenceSettings({ full: 'nothing is minted', stale: 'nothing is minted' }),
  PROVISIONAL_CHARGE_EXPIRATION: setting.duration({
    meaning: 'How long a charge to budgets stands before it is settled; then it is given back.',
    min: 1_000,
    max: 3_600_000,
    default: 300_000,
  }),
  PROVISIONAL_CHARGE_MAX: setting.duration({
    meaning: 'The longest that a call may ask for, when its resource may take longer to answer.',
    min: 1_000,
    max: 86_400_000,
    default: 3_600_000,
  }),
  PROVISIONAL_CHARGE_SWEEP_INTERVAL: setting.duration({
    meaning: 'How often charges that ran out are given back.',
    min: 100,
    max: 3_600_000,
    default: 60_000,
  }),
  PROVISIONAL_CHARGE_SWEEP_BATCH: setting.integer({
    meaning: 'Charges that one step of it gives back at most; the next step follows at once.',
    min: 1,
    max: 10_000,
    default: 1_000,
  }),
  USAGE_RETENTION: setting.duration({
    meaning: 'How long it is kept what each call cost, from when it was let through; then it is deleted. Balances of budgets stay.',
    min: 8 * 86_400_000,
    max: 3_660 * 86_400_000,
    default: 400 * 86_400_000,
  }),
  STS_ADMIN_TOKEN: setting.secret({ meaning: 'Allows key rotation; absent, the route is absent.', optional: true, fileMayBeAbsent: true }),
}

/** Hosts that stand for nobody. */
const EXAMPLE_HOST = /(?:^|\.)(?:example(?:\.(?:com|net|org))?|invalid|test)$/

/** The environment of the STS. */
export const stsConfiguration = defineConfiguration(settings, (values) => {
  const problems: { name: string; rule: string }[] = []
  const issuer = new URL(values.ISSUER_URL)
  if (issuer.search !== '') problems.push({ name: 'ISSUER_URL', rule: 'must not have a query' })
  if (values.CARACAL_MODE === 'stable') {
    if (issuer.protocol !== 'https:') problems.push({ name: 'ISSUER_URL', rule: 'must be https in stable' })
    if (EXAMPLE_HOST.test(issuer.hostname)) problems.push({ name: 'ISSUER_URL', rule: 'must not be an example host in stable' })
  }
  problems.push(...evidenceProblems(values))
  if (values.PROVISIONAL_CHARGE_MAX < values.PROVISIONAL_CHARGE_EXPIRATION)
    problems.push({ name: 'PROVISIONAL_CHARGE_MAX', rule: 'must not be less than PROVISIONAL_CHARGE_EXPIRATION' })
  for (const alias of values.ISSUER_ALIASES) {
    if (!URL.canParse(alias)) problems.push({ name: 'ISSUER_ALIASES', rule: 'must be URLs' })
  }
  return problems
})

export type StsConfiguration = Values<typeof settings>
