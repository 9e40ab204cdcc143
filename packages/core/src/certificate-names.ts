import type { X509Certificate } from 'node:crypto'
import { type CertificateName, isCertificateName } from './entity/application-key.ts'

/**
 * Everything that a certificate can be bound by (RFC 5280 §4.1.2.6, §4.2.1.6): thumbprint, subject, alternative names. Nothing is said
 * about who issued it. Alternative names that need quoting are left out: nobody is bound by what could be read in two ways.
 */
export function certificateNames(certificate: X509Certificate): readonly CertificateName[] {
  const thumbprint = certificate.fingerprint256.replaceAll(':', '').toLowerCase()
  const subject = subjectText(certificate)
  const names = [`sha256:${thumbprint}`, ...(subject === '' ? [] : [`subject:${subject}`]), ...alternativeNames(certificate)]
  return [...new Set(names)].filter(isCertificateName)
}

/** Attributes in the order of the certificate, values with the escapes of RFC 2253: so that a comma within one stays apart. */
export function subjectText({ subject }: Pick<X509Certificate, 'subject'>): string {
  return (subject ?? '').split('\n').join(',')
}

const KINDS: Readonly<Record<string, (value: string) => string>> = {
  DNS: (value) => `dns:${value.toLowerCase()}`,
  URI: (value) => `uri:${value}`,
  email: (value) => `email:${value}`,
}

function alternativeNames({ subjectAltName = '' }: X509Certificate): string[] {
  if (subjectAltName.includes('"')) return []
  return subjectAltName.split(', ').flatMap((entry) => {
    const at = entry.indexOf(':')
    const kind = Object.hasOwn(KINDS, entry.slice(0, at)) ? KINDS[entry.slice(0, at)] : undefined
    return kind === undefined ? [] : [kind(entry.slice(at + 1))]
  })
}
