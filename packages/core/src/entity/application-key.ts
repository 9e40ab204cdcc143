import { type ApplicationId, type CredentialId, isId, type ZoneId } from '../id.ts'
import type { UnixMillis } from '../time.ts'

/**
 * How an Application proves itself to an enforcement point that takes no mandates, and nowhere else. `api_key`: SHA-256 (hex) of the
 * whole key, whose 256 random bits need no pepper. `certificate`: what of a verified client certificate names the Application.
 */
export type ApplicationKey = {
  readonly id: CredentialId
  readonly application: ApplicationId
  readonly zone: ZoneId
  /** For people; unique among the keys of the Application that are not revoked. */
  readonly name: string
  readonly createdAt: UnixMillis
  readonly expiresAt: UnixMillis | null
} & ({ readonly kind: 'api_key'; readonly digest: string } | { readonly kind: 'certificate'; readonly certificate: CertificateName })

/**
 * One way to name a certificate: its SHA-256 thumbprint, its subject as the certificate has it (RFC 2253 escapes, attributes in the
 * order of the certificate, separated by commas), or one of its alternative names. Compared byte by byte.
 */
export type CertificateName = `${'sha256' | 'subject' | 'dns' | 'uri' | 'email'}:${string}`

const FORMS: Readonly<Record<string, RegExp>> = {
  sha256: /^[0-9a-f]{64}$/,
  subject: /^[A-Za-z0-9.]{1,64}=\P{Cc}{1,1024}$/u,
  dns: /^(?=.{1,253}$)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$/,
  uri: /^[a-z][a-z0-9+.-]{0,30}:[\x21-\x7e]{1,1024}$/,
  email: /^[\x21-\x3f\x41-\x7e]{1,64}@[a-z0-9.-]{1,253}$/,
}

/** Whether `text` names certificates in one of the ways there are. No wildcards. */
export function isCertificateName(text: string): text is CertificateName {
  const at = text.indexOf(':')
  const form = at < 0 || !Object.hasOwn(FORMS, text.slice(0, at)) ? undefined : FORMS[text.slice(0, at)]
  return form?.test(text.slice(at + 1)) === true
}

const API_KEY = /^ck_([0-7][0-9a-hjkmnp-tv-z]{25})_[A-Za-z0-9_-]{43}$/

/** The text of an API key: which key it is, and 256 random bits in base64url. */
export function apiKeyText(id: CredentialId, secret: string): string {
  return `ck_${id.slice('crd_'.length)}_${secret}`
}

/** Which key a text says to be; undefined when it is not one at all. */
export function idOfApiKey(text: string): CredentialId | undefined {
  const id = `crd_${API_KEY.exec(text)?.[1]}`
  return isId('credential', id) ? id : undefined
}
