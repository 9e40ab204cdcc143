import {
  evidenceProblems,
  evidenceSettings,
  loadSettings,
  type Mode,
  parseTrustedProxy,
  serviceSettings,
  setting,
  streamsSettings,
  type Values,
} from '@caracal/service'
import type { EvidenceMode } from '@caracal/streams'
import { type AuthMode, authProblems, authSettings } from './callers/auth-settings.ts'

/** An STS that answers counts as confirmation for so long, unless POLICY_CACHE_TTL says less. */
export const LONGEST_UNCONFIRMED_MS = 600_000

/** What every enforcement point takes; spread it into the role's own. `port` is the role's default. */
export function enforcementSettings(port: number) {
  return {
    ...serviceSettings(port),
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
    ...authSettings,
    GATEWAY_STS_HMAC_KEY: setting.key({ meaning: 'Signs calls to the STS and encrypts the secrets in them.' }),
    UPSTREAM_HOST_ALLOWLIST: setting.list({
      meaning: 'Hosts that may be called at all, `.example.com` for everything below; empty = those of registered resources.',
      default: [],
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
    BUDGET_REQUIRED: setting.boolean({
      meaning: 'Refuse every call that no budget counts, with 403 `budget_required`.',
      default: false,
    }),
    PROVISIONAL_CHARGE_SLICE: setting.integer({
      meaning:
        'Of what is left of each budget that calls here are charged to, so many percent are held, to spend them while the store is away; 0 = such calls are refused then. Needs a spool: none with EVIDENCE=write-through.',
      min: 0,
      max: 50,
      default: 5,
    }),
    PROVISIONAL_CHARGE_SLICE_TTL: setting.duration({
      meaning: 'How long of that is spent without an answer of the store; then calls that budgets count are refused with 503.',
      min: 1_000,
      max: 3_600_000,
      default: 300_000,
    }),
    ...evidenceSettings({ full: 'no call is forwarded', stale: 'every call is refused' }),
    POLICY_CACHE: setting.boolean({
      meaning:
        'Decide with what is held while it is current; off: ask the STS for each call whether it is, and refuse when it does not answer.',
      default: true,
    }),
    POLICY_CACHE_TTL: setting.duration({
      meaning:
        'How long configuration and policies serve that cannot be confirmed, never past REVOCATION_MAX_AGE without fresh revocations; then every call is refused.',
      min: 1_000,
      max: LONGEST_UNCONFIRMED_MS,
      default: LONGEST_UNCONFIRMED_MS,
    }),
    POLICY_CACHE_SIZE: setting.integer({
      meaning: 'Decisions remembered for each zone; 0 decides every call anew.',
      min: 0,
      max: 1_000_000,
      default: 20_000,
    }),
  }
}

export type EnforcementConfiguration = Values<ReturnType<typeof enforcementSettings>>

/** What no single value shows: rules between the settings of an enforcement point. */
export function enforcementProblems(
  values: {
    readonly CARACAL_MODE: Mode
    readonly TRUSTED_PROXIES: readonly string[]
    readonly EVIDENCE: EvidenceMode
    readonly STREAMS_DRIVER: string
    readonly AUTH_MODE: AuthMode
  } & Parameters<typeof authProblems>[0],
): { name: string; rule: string }[] {
  const problems: { name: string; rule: string }[] = [...authProblems(values)]
  if (values.TRUSTED_PROXIES.some((text) => parseTrustedProxy(text) === null))
    problems.push({ name: 'TRUSTED_PROXIES', rule: 'must be addresses or CIDRs' })
  problems.push(...evidenceProblems(values))
  return problems
}
