import { X509Certificate } from 'node:crypto'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g

/** The certificates of a PEM text; undefined when there is none, or one that cannot be read. */
export function certificatesIn(text: string): readonly string[] | undefined {
  const found = text.match(CERTIFICATE) ?? []
  const begun = text.split('-----BEGIN CERTIFICATE-----').length - 1
  if (found.length === 0 || found.length !== begun || !found.every(isCertificate)) return undefined
  return found
}

let own: readonly string[] | undefined

/** From now on every new TLS connection of this process also trusts these authorities, and no longer the ones of the last call. */
export function trustAuthorities(pem: string): void {
  own ??= getCACertificates('default')
  setDefaultCACertificates([...own, ...(certificatesIn(pem) ?? [])])
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).publicKey !== undefined
  } catch {
    return false
  }
}
