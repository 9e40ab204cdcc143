import { type CertificateName, certificateNames, ok, type Result, refuse, type UnixMillis } from '@caracal/core'
import type { CallerDirectory, KnownCertificate } from './caller-directory.ts'
import type { CallerProver, CallerRefusal, ClientCertificate, Presentation, ProvenCaller } from './proven-caller.ts'

/**
 * `AUTH_MODE=mtls`: the client certificate of the TLS session, whose chain ends at the configured authority. No header is believed,
 * whoever sends it (P-074). The Application is the one that the certificate is bound to: by thumbprint, subject or alternative name.
 * A certificate that names two Applications proves neither.
 */
export function certificateProver(directory: CallerDirectory): CallerProver {
  /** A connection shows the same certificate at every call. */
  const read = new WeakMap<ClientCertificate, Read>()

  function readOnce(certificate: ClientCertificate): Read {
    const before = read.get(certificate)
    if (before !== undefined) return before
    const { x509 } = certificate
    const names = certificateNames(x509)
    const thumbprint = Buffer.from(x509.fingerprint256.replaceAll(':', ''), 'hex').toString('base64url')
    const made = { names, thumbprint, from: x509.validFromDate.getTime(), to: x509.validToDate.getTime() }
    read.set(certificate, made)
    return made
  }

  function look(presented: Presentation, now: UnixMillis): Result<ProvenCaller, CallerRefusal> {
    const certificate = presented.certificate()
    if (certificate === null) return refuse('unauthenticated', 'a client certificate is required')
    if (!certificate.chain.holds) return refuse('invalid_client', `the certificate is not accepted: ${certificate.chain.why}`)
    const { names, thumbprint, from, to } = readOnce(certificate)
    // The connection may be older than the end of its certificate.
    if (now < from || now >= to) return refuse('invalid_client', 'the certificate is not in force')
    const bound = directory.certificates(names).filter(({ expiresAt }) => expiresAt === null || expiresAt > now)
    const [first] = bound
    if (first === undefined) return refuse('invalid_client', 'the certificate is bound to no application')
    if (bound.some(({ application }) => application !== first.application))
      return refuse('invalid_client', 'the certificate is bound to more than one application')
    return ok({
      zone: first.zone,
      application: first.application,
      credential: { kind: 'mtls', id: first.id },
      proof: { 'x5t#S256': thumbprint },
      expiresAt: Math.min(to, ...bound.map(({ expiresAt }: KnownCertificate) => expiresAt ?? to)) / 1000,
      use: null,
    })
  }

  return {
    async prove(presented, now) {
      const found = look(presented, now)
      if (found.ok || found.reason !== 'invalid_client' || presented.certificate()?.chain.holds !== true) return found
      await directory.refresh()
      return look(presented, now)
    },
    knows: (presented, now) => look(presented, now).ok,
    zone: () => directory.onlyZone(),
    challenge: 'Certificate realm="caracal"',
  }
}

type Read = {
  readonly names: readonly CertificateName[]
  /** base64url, as `x5t#S256`. */
  readonly thumbprint: string
  readonly from: UnixMillis
  readonly to: UnixMillis
}
