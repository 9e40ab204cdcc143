import { createPrivateKey, X509Certificate } from 'node:crypto'
import { createSecureContext, type SecureContextOptions } from 'node:tls'
import { type ConfigurationProblem, certificatesIn, setting } from '@caracal/service'

/** The listener with TLS; there is one as soon as it has a certificate. */
export const tlsSettings = {
  GATEWAY_LISTEN: setting.string({
    meaning:
      'Address and port of the listener with TLS; unset = HOST and 8443. Where it is that of HOST and PORT there is no listener without TLS.',
    // 0 to 65535.
    pattern: /^(?:\[[0-9a-fA-F:]+\]|[\w.-]+):(?:\d{1,4}|[1-5]\d{4}|6(?:[0-4]\d{3}|5(?:[0-4]\d\d|5(?:[0-2]\d|3[0-5]))))$/,
    rule: 'must be an address and a port: 0.0.0.0:8443',
    optional: true,
  }),
  TLS_CERT: setting.certificates({
    meaning: 'The certificate of the Gateway with those between it and its authority. Best as `TLS_CERT_FILE`.',
    optional: true,
  }),
  TLS_KEY: setting.string({ meaning: 'Its private key, PKCS#8, PKCS#1 or SEC1. Best as `TLS_KEY_FILE`.', secret: true, optional: true }),
  TLS_CA: {
    ...setting.certificates({
      meaning: 'With AUTH_MODE=mtls: the authorities of client certificates; nobody else is trusted. Best as `TLS_CA_FILE`.',
      optional: true,
    }),
    // A deployment may name the file and not use it: only AUTH_MODE=mtls demands it.
    fileMayBeAbsent: true,
  },
} as const

export type TlsValues = {
  readonly HOST: string
  readonly PORT: number
  readonly GATEWAY_LISTEN: string | undefined
  readonly TLS_CERT: string | undefined
  readonly TLS_KEY: string | undefined
  readonly TLS_CA: string | undefined
}

/** Where the listener with TLS is, and whether it is the only one; null: there is none. */
export type TlsPlace = { readonly host: string; readonly port: number; readonly only: boolean }

const DEFAULT_PORT = 8443

export function tlsPlace(values: TlsValues): TlsPlace | null {
  if (values.TLS_CERT === undefined || values.TLS_KEY === undefined) return null
  const { host, port } = listenOf(values)
  return { host, port, only: host === values.HOST && port === values.PORT && port !== 0 }
}

/** What of these settings does not fit together. */
export function tlsProblems(values: TlsValues & { readonly AUTH_MODE: string }): ConfigurationProblem[] {
  const { TLS_CERT: cert, TLS_KEY: key, AUTH_MODE: mode } = values
  const problems: ConfigurationProblem[] = []
  const demand = (name: string, value: string | undefined, why: string) => {
    if (value === undefined) problems.push({ name, rule: `is required ${why}, or ${name}_FILE with a file that is there` })
  }
  if (mode === 'mtls') demand('TLS_CA', values.TLS_CA, 'with AUTH_MODE=mtls')
  const { host, port } = listenOf(values)
  const isPlain = values.GATEWAY_LISTEN === undefined || (host === values.HOST && port === values.PORT)
  if (mode === 'mtls' || !isPlain || cert !== undefined || key !== undefined) {
    const why = mode === 'mtls' ? 'with AUTH_MODE=mtls' : isPlain ? 'for TLS' : 'for the listener of GATEWAY_LISTEN'
    demand('TLS_CERT', cert, why)
    demand('TLS_KEY', key, why)
  }
  if (cert === undefined || key === undefined) return problems
  const fault = pairFault({ cert, key })
  return fault === null ? problems : [...problems, fault]
}

/** Why this certificate and this key cannot serve together; null when they can. */
export function pairFault({ cert, key }: { readonly cert: string; readonly key: string }): ConfigurationProblem | null {
  const own = certificatesIn(cert)?.[0]
  if (own === undefined) return { name: 'TLS_CERT', rule: 'must be PEM certificates' }
  let matches: boolean
  try {
    matches = new X509Certificate(own).checkPrivateKey(createPrivateKey(key))
  } catch {
    return { name: 'TLS_KEY', rule: 'must be a private key in PEM without a passphrase' }
  }
  if (!matches) return { name: 'TLS_KEY', rule: 'is not the key of the first certificate in TLS_CERT' }
  try {
    createSecureContext(contextOf({ cert, key }))
    return null
  } catch (error) {
    return { name: 'TLS_CERT', rule: `is not accepted: ${error instanceof Error ? error.message : String(error)}` }
  }
}

/** TLS 1.2 and newer, and nothing that Node's own list of ciphers leaves out. */
export function contextOf({
  cert,
  key,
  ca,
}: {
  readonly cert: string
  readonly key: string
  readonly ca?: string | undefined
}): SecureContextOptions {
  return { cert, key, minVersion: 'TLSv1.2', ...(ca === undefined ? {} : { ca: [...(certificatesIn(ca) ?? [])] }) }
}

function listenOf({ GATEWAY_LISTEN: text, HOST }: TlsValues): { readonly host: string; readonly port: number } {
  if (text === undefined) return { host: HOST, port: DEFAULT_PORT }
  const at = text.lastIndexOf(':')
  return { host: text.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(text.slice(at + 1)) }
}
