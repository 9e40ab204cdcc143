import { type Event, REASONS } from '@caracal/core'

type Rule = { readonly rule: string; readonly policy: string }

/** What would have to change for the request to be allowed, in words; null when only waiting helps or nothing does. */
export function remedyOf(event: Event, rules: readonly Rule[]): string | null {
  const { reason, resource, scopes } = event
  if (reason === undefined) return null
  const named = rules.map(({ policy, rule }) => `${policy}/${rule}`).join(', ')
  const scope = scopes?.join(' ') ?? 'the scope'
  switch (reason) {
    case 'no_rule_allows':
      return `Add an allow rule for ${scope} on ${resource ?? 'the resource'} that is for this application or one of its labels, and activate it.`
    case 'no_active_policy':
      return 'Apply a Policy: the zone has none that is active.'
    case 'denied_by_rule':
      return `Change or remove the deny rule ${named || 'that matched'}; an allow never outweighs it.`
    case 'condition_failed':
      return `Correct the condition of ${named || 'the rule'}: it could not be evaluated with what this request carried.`
    case 'contradictory_holds':
      return `Give ${named || 'the holding rules'} the same tier and an approver that both accept.`
    case 'approval_required':
      return `A human has to approve it${named === '' ? '' : ` because of ${named}`}; repeat the request with the approval.`
    case 'insufficient_scope':
      return `Ask for a mandate with the scope of this operation${scopes === undefined ? '' : `: ${scope}`}.`
    case 'operation_not_declared':
      return 'Declare the method and path among the operations of the Resource, with the scope it needs.'
    case 'invalid_scope':
      return 'Ask only for scopes that the Resource declares.'
    case 'scope_exceeds_parent':
      return 'Ask for no more than the parent mandate and every delegation of the lineage hold.'
    case 'invalid_target':
      return 'Name the identifier of a Resource of this zone.'
    case 'token_revoked':
    case 'lineage_revoked':
      return 'It was revoked on purpose: begin anew with a session, delegation or application that is alive.'
    case 'sender_constraint_required':
      return 'Get a mandate that is bound to a key, and prove the key with each call.'
    default:
      return REASONS[reason].fix ?? null
  }
}
