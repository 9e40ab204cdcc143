import type { X509Certificate } from 'node:crypto'
import type { ApplicationId, EventCredential, Result, Seconds, UnixMillis, UnixSeconds, ZoneId } from '@caracal/core'

/** An Application that proved itself with a credential of its own instead of presenting a mandate. */
export type ProvenCaller = {
  readonly zone: ZoneId
  readonly application: ApplicationId
  /** Which key of which kind: evidence names it in the place of a mandate, and revoking it ends the calls of it. */
  readonly credential: EventCredential
  /** Thumbprint of the certificate that the connection proved (RFC 8705 §3.1): such a caller is sender-constrained. */
  readonly proof?: { readonly 'x5t#S256': string }
  /** When the credential ends; null: it does not by itself. */
  readonly expiresAt: UnixSeconds | null
  /** What makes this call one of its kind. Null: nothing does, and what must happen once is refused. */
  readonly use: OneTimeUse | null
}

/** An id that all replicas take once. `ttl`: for how long it must not come again. */
export type OneTimeUse = { readonly key: string; readonly ttl: Seconds }

/** A client certificate as the TLS session has it. */
export type ClientCertificate = {
  readonly x509: X509Certificate
  /** Whether its chain ends at the configured authority; otherwise why not, in OpenSSL's words. */
  readonly chain: { readonly holds: true } | { readonly holds: false; readonly why: string }
}

/** What of a request may prove its caller; headers are the flat list of the wire, so that a second one cannot hide. */
export type Presentation = {
  readonly rawHeaders: readonly string[]
  /** Null: the connection proved none. */
  readonly certificate: () => ClientCertificate | null
}

export type CallerRefusal =
  | 'unauthenticated'
  | 'invalid_client'
  | 'invalid_request'
  | 'nonce_required'
  | 'timestamp_outside_window'
  | 'sts_unavailable'
  | 'starting'

/** One way for an Application to prove itself (`AUTH_MODE`). */
export type CallerProver = {
  /** Pure of side effects: nothing is used up, whatever comes out. */
  readonly prove: (presented: Presentation, now: UnixMillis) => Promise<Result<ProvenCaller, CallerRefusal>>
  /** Whether it would pass without costly cryptography: then a source that sends bad ones does not stop it. */
  readonly knows: (presented: Presentation, now: UnixMillis) => boolean
  /** Zone that an unproven request says to be of, for what is counted of it. */
  readonly zone: (presented: Presentation) => ZoneId | undefined
  /** `WWW-Authenticate` of a 401. */
  readonly challenge: string
}

/** The one value of a header; undefined when there is none, null when it stands more than once. */
export function onlyHeader(rawHeaders: readonly string[], name: string): string | undefined | null {
  let found: string | undefined
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const given = rawHeaders[at] ?? ''
    if (given.length !== name.length || given.toLowerCase() !== name) continue
    if (found !== undefined) return null
    found = rawHeaders[at + 1]?.trim() ?? ''
  }
  return found
}
