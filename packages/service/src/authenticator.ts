import type { IncomingHttpHeaders } from 'node:http'
import { type Result, refuse } from '@caracal/core'
import type { Principal, Who } from './who.ts'

/** What a credential can be judged by. The body is not read yet. */
export type Presented = {
  /** At most one: a request with two is refused before. */
  readonly authorization: string | undefined
  readonly headers: IncomingHttpHeaders
  readonly method: string
  readonly url: string
  readonly source: string
  /** What the row asks for: an app can choose how to read the credential. */
  readonly who: readonly Who[]
}

/**
 * Turns a credential into a principal, or refuses (`unauthenticated`, `invalid_token` …). Called for every row but those
 * for anyone and calls that are signed internally; a missing credential is the authenticator's to refuse.
 */
export type Authenticator = {
  authenticate(presented: Presented): Promise<Result<Principal>> | Result<Principal>
  /** WWW-Authenticate of a 401. */
  readonly challenge?: string
}

/** The bearer credential of an Authorization header (RFC 6750 §2.1), or undefined. */
export function bearerToken(authorization: string | undefined): string | undefined {
  const found = authorization === undefined ? null : /^Bearer +([A-Za-z0-9._~+/-]+=*) *$/i.exec(authorization)
  return found?.[1]
}

/** The first authenticator that does not say `unauthenticated` decides. */
export function firstOf(...authenticators: readonly Authenticator[]): Authenticator {
  const challenge = authenticators.find((one) => one.challenge !== undefined)?.challenge
  return {
    ...(challenge === undefined ? {} : { challenge }),
    async authenticate(presented) {
      let last: Result<Principal> = refuse('unauthenticated')
      for (const one of authenticators) {
        last = await one.authenticate(presented)
        if (last.ok || last.reason !== 'unauthenticated') return last
      }
      return last
    },
  }
}
