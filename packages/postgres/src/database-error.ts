/** What both drivers tell about a failed statement: SQLSTATE and the constraint. */
type DatabaseErrorLike = { readonly code: string; readonly constraint?: string | undefined }

function asDatabaseError(error: unknown): DatabaseErrorLike | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? (error as Error & DatabaseErrorLike) : undefined
}

/** A row with this key exists already (SQLSTATE 23505). */
export function isUniqueViolation(error: unknown, constraint?: string): boolean {
  const found = asDatabaseError(error)
  return found?.code === '23505' && (constraint === undefined || found.constraint === constraint)
}

/** A reference points to nothing in this zone (SQLSTATE 23503). */
export function isForeignKeyViolation(error: unknown, constraint?: string): boolean {
  const found = asDatabaseError(error)
  return found?.code === '23503' && (constraint === undefined || found.constraint === constraint)
}

/** What `pg` says without a code. */
const AWAY =
  /^(?:Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error|the database did not answer)/

const NETWORK = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN'])

/**
 * Whether the database is away or cannot take work now, as opposed to refusing this statement: no connection, shutting
 * down, recovering, read-only, out of resources, or a lock or statement limit reached. Retrying later may help.
 */
export function isDatabaseOutage(error: unknown): boolean {
  if (error instanceof AggregateError && error.errors.some(isDatabaseOutage)) return true
  const code = asDatabaseError(error)?.code
  if (code !== undefined) {
    // 08 connection, 53 resources (disk full, too many connections), 57 operator, 58 system, 25006 read-only, 40 deadlock, 55P03 lock limit
    return NETWORK.has(code) || /^(?:08|53|57|58|40)/.test(code) || code === '25006' || code === '55P03'
  }
  return error instanceof Error && AWAY.test(error.message)
}
