import type { RouteRow } from './route.ts'

/**
 * Which methods a path has, for paths that no row of the given method matched: a 405 says which (RFC 9110 §15.5.6).
 * Works on decoded segments, as the router does.
 */
export function createPathMethods(rows: readonly Pick<RouteRow, 'method' | 'path'>[]): (url: string) => string[] {
  const patterns = rows.map((row) => ({ method: row.method, segments: row.path.split('/') }))
  return (url) => {
    const path = (url.split('?')[0] ?? '').replace(/^[a-z]+:\/\/[^/]*/i, '')
    const segments = path.split('/').map(decode)
    const found = new Set<string>()
    for (const pattern of patterns) {
      if (matches(pattern.segments, segments)) found.add(pattern.method)
    }
    if (found.has('GET')) found.add('HEAD')
    return [...found].sort()
  }
}

function matches(pattern: readonly string[], segments: readonly string[]): boolean {
  const open = pattern.at(-1) === '*'
  if (open ? segments.length < pattern.length : segments.length !== pattern.length) return false
  return pattern.every((part, index) => {
    const segment = segments[index] ?? ''
    return part === '*' ? open && index === pattern.length - 1 : part.startsWith(':') ? segment !== '' : part === segment
  })
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    return segment
  }
}
