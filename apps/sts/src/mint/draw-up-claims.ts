import {
  type ApplicationId,
  formatScopes,
  type MandateClaims,
  type MandateContext,
  type MandatePrincipal,
  newId,
  ok,
  type Result,
  type Session,
} from '@caracal/core'
import type { AuthenticatedClient } from '../client/authenticate-client.ts'
import type { Granted } from './decide-mint.ts'
import type { LoadedLineage } from './load-lineage.ts'
import type { MintDesk } from './mint-desk.ts'
import type { Target } from './resolve-resource.ts'
import type { Terms } from './set-lifetime.ts'
import { actorChain, type Subject } from './verify-subject.ts'

/** The mandate as it will be signed (2-model "The Mandate", RFC 9068 §2.2). Nothing is signed yet. */
export function drawUpClaims(
  desk: MintDesk,
  at: {
    readonly client: AuthenticatedClient
    readonly subject: Subject
    readonly lineage: LoadedLineage
    readonly target: Target
    readonly granted: Granted
    readonly terms: Terms
  },
): Result<{ readonly claims: MandateClaims }> {
  const parent = at.subject.parent?.claims
  const caller = at.client.application.id
  const { ses, dlg, mnd } = at.lineage.ids
  const act = actorChain(
    caller,
    parent,
    at.lineage.delegators.map(({ application }) => application),
  )
  if (!act.ok) return act
  const person = parent === undefined ? (at.lineage.session?.subject ?? undefined) : undefined
  const actor = act.value ?? (person === undefined ? undefined : { sub: caller })
  return ok({
    claims: {
      iss: at.client.zone.snapshot.issuer,
      sub: parent?.sub ?? person ?? caller,
      aud: at.target.identifier,
      client_id: caller,
      scope: formatScopes(at.granted.scopes),
      iat: at.terms.issuedAt,
      nbf: at.terms.issuedAt,
      exp: at.terms.lifetime.expiresAt,
      jti: newId('mandate', desk.clock()),
      zone: at.client.zone.snapshot.id,
      txn: parent?.txn ?? newId('transaction', desk.clock()),
      ...(ses.length > 0 ? { ses } : {}),
      ...(dlg.length > 0 ? { dlg } : {}),
      ...(mnd.length > 0 ? { mnd } : {}),
      ...(actor === undefined ? {} : { act: actor }),
      ...(at.terms.once ? { once: true as const } : {}),
      ...contextOf(at.lineage.session, person, parent?.ctx, principalsOf(caller, parent, at.lineage)),
    },
  })
}

/** What policy must see again at the call: the leaf session's, or what the parent mandate told. */
function contextOf(
  session: Session | undefined,
  person: string | undefined,
  parent: MandateContext | undefined,
  principals: readonly MandatePrincipal[],
): { readonly ctx?: MandateContext } {
  const own = session === undefined ? undefined : { kind: session.kind, depth: session.lineage.length, labels: session.labels }
  const leaf = own ?? parent?.session
  const subject = person === undefined ? parent?.subject : { issuer: '', claims: {} }
  if (leaf === undefined && subject === undefined && principals.length === 0) return {}
  return {
    ctx: {
      ...(leaf === undefined ? {} : { session: leaf }),
      ...(subject === undefined ? {} : { subject }),
      ...(principals.length === 0 ? {} : { principals }),
    },
  }
}

/**
 * Everybody on whose authority the client acts: those of the parent mandate, its client when that is another one, and the delegators.
 * Rules that read the call wait until the call, theirs too (P-030).
 */
function principalsOf(caller: ApplicationId, parent: MandateClaims | undefined, lineage: LoadedLineage): readonly MandatePrincipal[] {
  const found = new Map<string, MandatePrincipal>()
  const add = (one: MandatePrincipal) => found.set(`${one.application} ${one.session?.id ?? ''} ${one.depth}`, one)
  for (const one of parent?.ctx?.principals ?? []) add(one)
  if (parent !== undefined && parent.client_id !== caller) {
    const id = parent.ses?.at(-1)
    const session = id === undefined || parent.ctx?.session === undefined ? {} : { session: { id, ...parent.ctx.session } }
    add({ application: parent.client_id, depth: parent.dlg?.length ?? 0, ...session })
  }
  for (const [depth, { application, session }] of lineage.delegators.entries()) {
    const { id, kind, labels } = session
    add({ application, depth, session: { id, kind, labels, depth: session.lineage.length } })
  }
  return [...found.values()]
}
