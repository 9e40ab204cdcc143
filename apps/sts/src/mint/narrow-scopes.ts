import { ok, type Result } from '@caracal/core'
import { type Ceiling, delegationCeilings, type Narrowed, narrow } from '@caracal/enforcement'
import type { LoadedLineage } from './load-lineage.ts'
import type { Target } from './resolve-resource.ts'
import type { TokenRequest } from './token-request.ts'
import type { Subject } from './verify-subject.ts'

/** Step 6: requested ∩ declared ∩ parent mandate ∩ every delegation of the chain; wider is refused by name (P-002). */
export function narrowScopes(
  _desk: unknown,
  at: { readonly request: TokenRequest; readonly subject: Subject; readonly lineage: LoadedLineage; readonly target: Target },
): Result<{ readonly asked: Narrowed }> {
  const ceilings: Ceiling[] = []
  if (at.subject.parent !== undefined) ceilings.push({ name: 'the subject token', scopes: at.subject.parent.scopes })
  const { resource } = at.target
  if (resource !== undefined) ceilings.push(...delegationCeilings(at.lineage.chain, resource.id))
  // Authority at Caracal itself is never delegated: it is what sessions and delegations are made with.
  else if (at.lineage.chain.length > 0) ceilings.push({ name: 'the delegation', scopes: new Set() })
  const narrowed = narrow(at.request.scopes ?? null, at.target.scopes, ceilings)
  return narrowed.ok ? ok({ asked: narrowed.value }) : narrowed
}
