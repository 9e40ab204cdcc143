import { ok, type Result, refuse } from '@caracal/core'

/** The strong ETag of a stored entity: its version (RFC 9110 §8.8.3). */
export function etag(version: number | string): string {
  return `"${version}"`
}

/**
 * RFC 9110 §13.1.1 for a change: without If-Match 428, with one that names another version 412. `*` matches whatever exists.
 */
export function ifMatch(header: string | undefined, current: string): Result<void, 'precondition_required' | 'version_moved'> {
  if (header === undefined || header.trim() === '') return refuse('precondition_required')
  const named = header.split(',').map((one) => one.trim())
  return named.includes('*') || named.includes(current) ? ok(undefined) : refuse('version_moved')
}

/** RFC 9110 §13.1.2 for a read: whether the caller already has this version. Comparison is weak, as for GET. */
export function ifNoneMatch(header: string | undefined, current: string): boolean {
  if (header === undefined) return false
  const bare = (tag: string) => tag.trim().replace(/^W\//, '')
  return header.split(',').some((one) => one.trim() === '*' || bare(one) === bare(current))
}
