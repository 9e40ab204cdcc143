import { ok, type Result, refuse } from '@caracal/core'
import type { Granted } from './decide-mint.ts'
import type { TokenRequest } from './token-request.ts'

/**
 * Step 8: what a rule holds is not granted without a human. There is no decision to present yet, so a presented approval id
 * belongs to no approval and is refused like an unknown one.
 */
export function releaseApproval(
  _desk: unknown,
  { request, granted }: { readonly request: TokenRequest; readonly granted: Granted },
): Result<Record<never, never>> {
  if (granted.held === undefined) {
    return request.approval === undefined ? ok({}) : refuse('invalid_request', 'approval: nothing of this request is held')
  }
  return refuse('approval_required', `held: ${granted.held.scopes.join(' ')}`, { rules: granted.held.rules, scopes: granted.held.scopes })
}
