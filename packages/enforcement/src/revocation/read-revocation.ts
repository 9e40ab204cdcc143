import { REVOCATION_KINDS, type Revocation } from '@caracal/core'

const kinds: ReadonlySet<string> = new Set(REVOCATION_KINDS)

/** Reads a message of `caracal.revocations`, every kind alike (P-054). Null when it is not one; unknown members are ignored. */
export function readRevocation(payload: string): Revocation | null {
  let value: unknown
  try {
    value = JSON.parse(payload)
  } catch {
    return null
  }
  return isRevocation(value) ? value : null
}

function isRevocation(value: unknown): value is Revocation {
  if (typeof value !== 'object' || value === null) return false
  const { v, op, kind, id, zone, at } = value as Partial<Record<keyof Revocation, unknown>>
  return (
    v === 1 &&
    (op === 'revoke' || op === 'lift') &&
    typeof kind === 'string' &&
    kinds.has(kind) &&
    typeof id === 'string' &&
    id !== '' &&
    typeof zone === 'string' &&
    Number.isFinite(at)
  )
}
