import { ok, type Result, refuse } from '@caracal/core'
import type { CallFacts, GovernedCall } from './governed-call.ts'
import {
  bindSender,
  checkMandateLineage,
  findApplication,
  type Has,
  limitRate,
  readAnew,
  requireConfiguration,
  requireFreshView,
  type Start,
  verifyMandate,
} from './mandate-steps.ts'
import { type Awaitable, pipeline } from './pipeline.ts'

type ResourceStart = Start & { readonly call: GovernedCall }
export type So<K extends Exclude<keyof CallFacts, 'call'>> = Has<K> & ResourceStart

/**
 * Who stands at the door of a resource, before anything is known of what they want there: 2-model "Verify", from after routing to
 * where the operation begins. What is decided further begins with all of it.
 */
export const passage = pipeline<ResourceStart>()
  .step(requireConfiguration)
  .step(verifyMandate) // signature, typ, iss, exp, nbf
  .step(bindSender)
  .step(resolveResource)
  .step(checkAudience)
  .step(checkKind)
  .step(findApplication)
  .step(checkLineage)
  .step(requireFreshView)
  .step(limitRate)

/** The resource the mandate is for. What it is not for is not looked up, so that nothing shows whether it exists (P-033). */
function resolveResource(so: Has<'mandate' | 'zone'>): Awaitable<Result<Pick<CallFacts, 'resource' | 'zone'>>> {
  const { mandate, zone } = so
  const resource = zone.resourcesByIdentifier.get(mandate.claims.aud)
  return resource === undefined ? resolveAnew(so) : ok({ resource, zone })
}

async function resolveAnew({ mandate, zone, with: using }: Has<'mandate' | 'zone'>): Promise<Result<Pick<CallFacts, 'resource' | 'zone'>>> {
  const anew = await readAnew(zone, using)
  const resource = anew.resourcesByIdentifier.get(mandate.claims.aud)
  return resource === undefined ? refuse('resource_unknown') : ok({ resource, zone: anew })
}

function checkAudience({ call: { route }, resource }: So<'resource'>): Result<object> {
  return resource[route.by] === route.value ? ok({}) : refuse('wrong_audience')
}

/** An MCP server is called through the MCP Adapter only: elsewhere nobody sees which of its tools is meant. */
function checkKind({ call, resource }: So<'resource'>): Result<object> {
  const isMcp = call.mcp !== undefined
  if ((resource.kind === 'mcp') === isMcp) return ok({})
  return refuse('operation_not_declared', isMcp ? 'the resource is no MCP server' : 'an MCP server is called through the MCP Adapter')
}

/** The ids the mandate carries, and what it leads to: a deleted resource or provider falls like a revoked session (P-060). */
export function checkLineage(so: Has<'mandate' | 'resource'>): Result<Pick<CallFacts, 'cutBy'>> {
  const lineage = checkMandateLineage(so)
  if (!lineage.ok) return lineage
  const { id, provider } = so.resource
  const cutBy = [...so.mandate.revocable, id, ...(provider === null ? [] : [provider])]
  return so.with.view.isRevoked(cutBy) === null ? ok({ cutBy }) : refuse('token_revoked')
}
