import { createHash } from 'node:crypto'
import { canonicalJson, ok, type PolicyDocument, parsePolicy, type Result, refuse } from '@caracal/core'

export type PolicyText = { readonly document: PolicyDocument; readonly source: string; readonly canonical: string; readonly sha256: string }

/** A policy as it was sent, parsed, with the form that is hashed. Refuses with line, column and field of everything wrong. */
export function readPolicySource(source: string): Result<PolicyText, 'validation_failed'> {
  const parsed = parsePolicy(source)
  if (!parsed.ok) {
    const errors = parsed.problems.map(({ line, column, path, message }) => ({ line, column, field: path, message }))
    return refuse('validation_failed', 'the policy cannot be accepted', { errors })
  }
  const canonical = canonicalJson(parsed.value)
  return ok({ document: parsed.value, source, canonical, sha256: createHash('sha256').update(canonical).digest('hex') })
}
