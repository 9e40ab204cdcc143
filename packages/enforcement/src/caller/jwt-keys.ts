import { constants, createHash, createPublicKey, type KeyObject, type VerifyKeyObjectInput } from 'node:crypto'

/** Signature algorithms of RFC 7518 §3.1 and RFC 8037 with a public key. There is no HMAC and no `none` among them. */
export const JWT_ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'] as const

export type JwtAlgorithm = (typeof JWT_ALGORITHMS)[number]

/** A key that verifies one algorithm. `id`: RFC 7638 thumbprint, as evidence names it. */
export type JwtKey = { readonly id: string; readonly kid: string | undefined; readonly key: KeyObject }

const CURVES: Readonly<Record<string, string>> = { ES256: 'prime256v1', ES384: 'secp384r1', ES512: 'secp521r1' }

/** Members of a key that RFC 7638 §3.2 hashes, in their order. */
const THUMBPRINT_MEMBERS: Readonly<Record<string, readonly string[]>> = {
  RSA: ['e', 'kty', 'n'],
  EC: ['crv', 'kty', 'x', 'y'],
  OKP: ['crv', 'kty', 'x'],
}

const PEM = /-----BEGIN (?:RSA )?PUBLIC KEY-----[A-Za-z0-9+/=\s]+-----END (?:RSA )?PUBLIC KEY-----/g

/**
 * The keys of a text: public keys in PEM, one after another, or a JWK Set (RFC 7517 §5). Several are valid beside each other, for
 * rotation. In words what is wrong with it otherwise; keys of a set that are for something else are passed over.
 */
export function readJwtKeys(text: string, algorithm: JwtAlgorithm): { readonly keys: readonly JwtKey[] } | { readonly fault: string } {
  if (text.includes('PRIVATE KEY-----')) return { fault: 'holds a private key: only the public half belongs here' }
  const trimmed = text.trim()
  return trimmed.startsWith('{') ? readSet(trimmed, algorithm) : readPem(trimmed, algorithm)
}

function readPem(text: string, algorithm: JwtAlgorithm): ReturnType<typeof readJwtKeys> {
  const found = text.match(PEM) ?? []
  const begun = text.split('-----BEGIN ').length - 1
  if (found.length === 0 || found.length !== begun) return { fault: 'must be public keys in PEM, or a JWK Set' }
  const keys: JwtKey[] = []
  for (const pem of found) {
    const key = imported(() => createPublicKey(pem))
    if (key === undefined) return { fault: 'holds a public key that cannot be read' }
    const fault = unfit(key, algorithm)
    if (fault !== null) return { fault }
    keys.push({ id: thumbprint(key), kid: undefined, key })
  }
  return { keys }
}

function readSet(text: string, algorithm: JwtAlgorithm): ReturnType<typeof readJwtKeys> {
  const set = imported(() => JSON.parse(text) as { keys?: unknown })
  if (set === undefined || !Array.isArray(set.keys)) return { fault: 'is not a JWK Set' }
  const keys = set.keys.flatMap((jwk: Record<string, unknown>): JwtKey[] => {
    if (typeof jwk !== 'object' || jwk === null) return []
    const forOthers = (jwk.use !== undefined && jwk.use !== 'sig') || (jwk.alg !== undefined && jwk.alg !== algorithm)
    const key = forOthers || 'd' in jwk ? undefined : imported(() => createPublicKey({ key: jwk, format: 'jwk' }))
    if (key === undefined || unfit(key, algorithm) !== null) return []
    return [{ id: thumbprint(key), kid: typeof jwk.kid === 'string' ? jwk.kid : undefined, key }]
  })
  return keys.length === 0 ? { fault: `holds no public key for ${algorithm}` } : { keys }
}

/** What `crypto.verify` takes beside the key, and its digest: RFC 7518 §3.3 to §3.5, RFC 8037 §3.1. */
export function verification(algorithm: JwtAlgorithm): { digest: string | null; options: Omit<VerifyKeyObjectInput, 'key'> } {
  const digest = `sha${algorithm.slice(2)}`
  switch (algorithm.slice(0, 2)) {
    case 'PS':
      return { digest, options: { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST } }
    case 'ES':
      return { digest, options: { dsaEncoding: 'ieee-p1363' } }
    case 'RS':
      return { digest, options: { padding: constants.RSA_PKCS1_PADDING } }
    default:
      return { digest: null, options: {} }
  }
}

/** Why a key cannot verify the algorithm; null when it can. */
function unfit({ asymmetricKeyType: type, asymmetricKeyDetails: details }: KeyObject, algorithm: JwtAlgorithm): string | null {
  if (algorithm.startsWith('ES')) {
    return type === 'ec' && details?.namedCurve === CURVES[algorithm] ? null : `must be a key on ${CURVES[algorithm]} for ${algorithm}`
  }
  if (algorithm === 'EdDSA') return type === 'ed25519' ? null : 'must be an Ed25519 key for EdDSA'
  if (type !== 'rsa') return `must be an RSA key for ${algorithm}`
  return (details?.modulusLength ?? 0) < 2048 ? 'must be an RSA key of at least 2048 bits' : null
}

function thumbprint(key: KeyObject): string {
  const jwk = key.export({ format: 'jwk' }) as Record<string, unknown>
  const members = (THUMBPRINT_MEMBERS[String(jwk.kty)] ?? []).map((name) => [name, jwk[name]])
  return createHash('sha256')
    .update(JSON.stringify(Object.fromEntries(members)))
    .digest('base64url')
}

function imported<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}
