const VERIFIED = ['prefer', 'require', 'verify-ca', 'verify-full']

/**
 * The `postgres://` URL as it is used. Any TLS mode means verified TLS (`verify-full`: chain and host name, system roots or
 * `sslrootcert`); `disable` or none means no TLS; modes that would not verify throw (P-138).
 * Errors never carry the URL, because it holds the password.
 */
export function serverUrl(url: string): string {
  const parsed = URL.parse(url)
  if (parsed === null) throw new TypeError('the database URL is not a URL')
  if (!/^postgres(?:ql)?:$/.test(parsed.protocol)) throw new TypeError('the database URL must start with postgres://')
  for (const name of ['uselibpqcompat', 'ssl']) {
    if (parsed.searchParams.has(name)) throw new TypeError(`${name} is not supported in the database URL: use sslmode`)
  }
  const mode = parsed.searchParams.get('sslmode')
  if (mode !== null && mode !== 'disable') {
    if (!VERIFIED.includes(mode)) throw new TypeError(`sslmode=${mode} is not supported: use verify-full or disable`)
    parsed.searchParams.set('sslmode', 'verify-full')
  }
  return parsed.href
}

/** Whether two URLs differ in nothing but user and password. */
export function sameServer(one: string, other: string): boolean {
  const bare = (text: string) => {
    const url = URL.parse(text)
    if (url === null) return undefined
    url.username = ''
    url.password = ''
    return url.href
  }
  return bare(one) !== undefined && bare(one) === bare(other)
}
