import {
  type Application,
  type ApplicationId,
  type CompiledPolicies,
  type Decision,
  type DecisionFacts,
  type DecisionInput,
  decide,
  decideTogether,
  isId,
  type MandateClaims,
  type MandateContext,
  type MandatePrincipal,
} from '@caracal/core'
import type { StandsOn } from './stand-on.ts'

/** On whose authority a mandate is: the claims that say it, the same for the decision at mint and for every one at a call. */
export type Authority = Pick<MandateClaims, 'client_id' | 'sub' | 'ses' | 'dlg' | 'ctx'>

/** Another one whose authority the client uses: an Application that is gone (null) can hand on nothing. */
export type PrincipalFacts = Pick<DecisionFacts, 'application' | 'session' | 'delegation'> | null

const GONE: Decision = { effect: 'deny', reason: 'no_rule_allows', rules: [], failed: [], perCall: false }

/** The authority of a mint by `caller` that stands on this; `parent` is the mandate that is exchanged. */
export function authorityOf(
  caller: ApplicationId,
  { ids, session, delegators }: Pick<StandsOn, 'ids' | 'session' | 'delegators'>,
  parent: MandateClaims | undefined,
): Authority {
  const person = parent === undefined ? (session?.subject ?? undefined) : undefined
  const ctx = contextOf(session, person, parent?.ctx, principalsOf(caller, parent, delegators))
  return {
    client_id: caller,
    sub: parent?.sub ?? person ?? caller,
    ...(ids.ses.length > 0 ? { ses: ids.ses } : {}),
    ...(ids.dlg.length > 0 ? { dlg: ids.dlg } : {}),
    ...(ctx === undefined ? {} : { ctx }),
  }
}

/** What policy sees of the client's own standing. */
export function standingFacts({ sub, ses, dlg, ctx }: Authority): Pick<DecisionFacts, 'subject' | 'session' | 'delegation'> {
  const leaf = ses?.at(-1)
  return {
    ...(isId('subject', sub) && ctx?.subject !== undefined ? { subject: { id: sub, ...ctx.subject } } : {}),
    ...(leaf !== undefined && ctx?.session !== undefined ? { session: { id: leaf, ...ctx.session } } : {}),
    ...(dlg === undefined ? {} : { delegation: { depth: dlg.length } }),
  }
}

/** What policy sees of everybody else on whose authority the client acts. */
export function principalFacts({ ctx }: Authority, find: (id: ApplicationId) => Application | undefined): readonly PrincipalFacts[] {
  return (ctx?.principals ?? []).map(({ application: id, session, depth }) => {
    const application = find(id)
    if (application === undefined) return null
    return { application, ...(session === undefined ? {} : { session }), ...(depth > 0 ? { delegation: { depth } } : {}) }
  })
}

/**
 * The client's own decision, and that of everybody on whose authority it acts: it may do what all of them may, with the limits of all.
 * Mint, call and the view of a session's authority decide here (P-036).
 */
export function decideForAll(policies: CompiledPolicies | null, own: DecisionInput, principals: readonly PrincipalFacts[]): Decision {
  const first = decide(policies, own)
  if (principals.length === 0) return first
  const { session: _session, delegation: _delegation, ...shared } = own
  return decideTogether([first, ...principals.map((facts) => (facts === null ? GONE : decide(policies, { ...shared, ...facts })))])
}

/** What policy must see again at the call: the leaf session's, or what the parent mandate told. */
function contextOf(
  session: StandsOn['session'],
  person: string | undefined,
  parent: MandateContext | undefined,
  principals: readonly MandatePrincipal[],
): MandateContext | undefined {
  const own = session === undefined ? undefined : { kind: session.kind, depth: session.lineage.length, labels: session.labels }
  const leaf = own ?? parent?.session
  const subject = person === undefined ? parent?.subject : { issuer: '', claims: {} }
  if (leaf === undefined && subject === undefined && principals.length === 0) return undefined
  return {
    ...(leaf === undefined ? {} : { session: leaf }),
    ...(subject === undefined ? {} : { subject }),
    ...(principals.length === 0 ? {} : { principals }),
  }
}

/**
 * Everybody on whose authority the client acts: those of the parent mandate, its client when that is another one, and the delegators.
 * Rules that read the call wait until the call, theirs too (P-030).
 */
function principalsOf(
  caller: ApplicationId,
  parent: MandateClaims | undefined,
  delegators: StandsOn['delegators'],
): readonly MandatePrincipal[] {
  const found = new Map<string, MandatePrincipal>()
  const add = (one: MandatePrincipal) => found.set(`${one.application} ${one.session?.id ?? ''} ${one.depth}`, one)
  for (const one of parent?.ctx?.principals ?? []) add(one)
  if (parent !== undefined && parent.client_id !== caller) {
    const id = parent.ses?.at(-1)
    const session = id === undefined || parent.ctx?.session === undefined ? {} : { session: { id, ...parent.ctx.session } }
    add({ application: parent.client_id, depth: parent.dlg?.length ?? 0, ...session })
  }
  for (const [depth, { application, session }] of delegators.entries()) {
    const { id, kind, labels } = session
    add({ application, depth, session: { id, kind, labels, depth: session.lineage.length } })
  }
  return [...found.values()]
}
