import type { IncomingMessage } from 'node:http'
import { type Clock, isId, ok, type Result, refuse, type ZoneId } from '@caracal/core'
import {
  apiKeyProver,
  CallerDirectory,
  type CallerProver,
  type ConfigurationFollower,
  certificateProver,
  jwtProver,
  jwtVerifier,
  type MandateVerifier,
  oneTimeUse,
  type Presentation,
  type Presented,
  parseJws,
  type ReplicaState,
  readJwtKeys,
} from '@caracal/enforcement'
import type { Logger, Metrics } from '@caracal/service'
import type { CallRates } from '../call-rates.ts'
import { presentedMandate } from '../credential/present-mandate.ts'
import { clientCertificateOf } from '../listener/client-certificate.ts'
import type { AuthConfiguration, AuthMode } from './auth-settings.ts'

/** Who calls, in whatever way callers prove it here. */
export type Callers = {
  readonly mode: AuthMode
  /**
   * What the call stands on, to be spread into `GovernedCall`: a mandate that is yet to be verified, or a proven caller. Limits of its
   * source come before any cryptography; nothing is used up.
   */
  readonly present: (request: IncomingMessage, source: string) => Promise<Result<Presented>>
  /** The zone that an unproven request names, for what is counted of it. */
  readonly zoneOf: (request: IncomingMessage) => ZoneId | undefined
  /** `WWW-Authenticate` of a 401. */
  readonly challenge: string
}

export type CallersOptions = {
  readonly mode: AuthMode
  readonly config: AuthConfiguration
  readonly state: ReplicaState
  readonly verifier: MandateVerifier
  readonly refresh: ConfigurationFollower['refresh']
  readonly rates: CallRates
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: Metrics
  /** Lets a changed file become the value of a setting. */
  readonly takes: (setting: string, take: (value: string) => void) => void
}

/** Opens the one way in which callers prove who they are here (`AUTH_MODE`, or the role's own). */
export function openCallers(options: CallersOptions): Callers {
  return options.mode === 'mandate' ? mandates(options) : provenCallers(options, proverOf(options))
}

function mandates({ verifier, rates }: CallersOptions): Callers {
  return {
    mode: 'mandate',
    async present({ rawHeaders }, source) {
      const token = presentedMandate(rawHeaders)
      if (!token.ok) return token
      const wait = rates.beforeProof(source, () => verifier.knows(token.value))
      return wait > 0 ? refuse('rate_limited', undefined, { retry_after: Math.ceil(wait) }) : ok({ token: token.value })
    },
    zoneOf({ rawHeaders }) {
      const token = presentedMandate(rawHeaders)
      const jws = token.ok ? parseJws(token.value) : token
      const zone = jws.ok ? jws.value.payload.zone : undefined
      return isId('zone', zone) ? zone : undefined
    },
    challenge: 'Bearer realm="caracal"',
  }
}

/** What is wrong with the request and says nothing about who sent it. */
const FAULTS_OF_FORM: ReadonlySet<string> = new Set(['unauthenticated', 'invalid_request'])

function provenCallers({ mode, config, state, rates, clock, logger, metrics }: CallersOptions, prover: CallerProver): Callers {
  const replay = { window: config.REPLAY_WINDOW / 1000, nonceTtl: config.REPLAY_NONCE_TTL / 1000 }
  if (!config.REPLAY_PROTECTION) {
    metrics.insecureSetting('REPLAY_PROTECTION')
    logger.warn({ setting: 'REPLAY_PROTECTION' }, 'is off: a request that somebody copied counts again')
  }
  return {
    mode,
    async present(request, source) {
      const presented = presentationOf(request)
      const now = clock()
      const wait = rates.beforeProof(source, () => prover.knows(presented, now))
      if (wait > 0) return refuse('rate_limited', undefined, { retry_after: Math.ceil(wait) })
      // As for a mandate: with nothing known of any zone nobody is told that his credential is wrong.
      const standing = state.standing()
      if (standing !== 'current') return refuse(standing === 'empty' ? 'starting' : 'sts_unavailable')
      const proven = await prover.prove(presented, now)
      if (!proven.ok) {
        if (!FAULTS_OF_FORM.has(proven.reason)) rates.unproven(source)
        return proven
      }
      if (!config.REPLAY_PROTECTION) return ok({ caller: { ...proven.value, use: null } })
      const use = oneTimeUse(proven.value, presented, clock(), replay)
      return use.ok ? ok({ caller: { ...proven.value, use: use.value } }) : use
    },
    zoneOf: (request) => prover.zone(presentationOf(request)),
    challenge: prover.challenge,
  }
}

function presentationOf({ rawHeaders, socket }: IncomingMessage): Presentation {
  return { rawHeaders, certificate: () => clientCertificateOf(socket) }
}

function proverOf(options: CallersOptions): CallerProver {
  const { mode, config, state, refresh } = options
  const directory = new CallerDirectory({ state, zone: config.AUTH_ZONE, refresh })
  switch (mode) {
    case 'api_key':
      return apiKeyProver(directory)
    case 'mtls':
      return certificateProver(directory)
    default:
      return jwtProverOf(directory, options)
  }
}

function jwtProverOf(directory: CallerDirectory, { config, logger, metrics, takes }: CallersOptions): CallerProver {
  const keysOf = (text: string) => {
    const read = readJwtKeys(text, config.JWT_ALGORITHM)
    if ('fault' in read) throw new Error(read.fault)
    return read.keys
  }
  const verifier = jwtVerifier(
    {
      algorithm: config.JWT_ALGORITHM,
      issuer: config.JWT_ISSUER,
      audience: config.JWT_AUDIENCE,
      skew: config.JWT_SKEW / 1000,
      applicationClaim: config.JWT_APPLICATION_CLAIM,
    },
    keysOf(config.JWT_PUBLIC_KEY ?? ''),
  )
  takes('JWT_PUBLIC_KEY', (text) => verifier.use(keysOf(text)))
  for (const name of ['JWT_ISSUER', 'JWT_AUDIENCE'] as const) {
    if (config[name] !== undefined) continue
    metrics.insecureSetting(name)
    logger.warn({ setting: name }, 'is not set: tokens that the key signed for others are accepted too')
  }
  return jwtProver(directory, verifier, { skew: config.JWT_SKEW / 1000, useFor: config.REPLAY_NONCE_TTL / 1000 })
}
