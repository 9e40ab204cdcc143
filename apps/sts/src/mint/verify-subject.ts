import { type Actor, type ApplicationId, MAX_LINEAGE, ok, type Result, refuse } from '@caracal/core'
import type { Awaitable, Mandate } from '@caracal/enforcement'
import type { AuthenticatedClient } from '../client/authenticate-client.ts'
import type { MintDesk } from './mint-desk.ts'
import type { TokenRequest } from './token-request.ts'

/** What a token exchange stands on; both absent for `client_credentials`. */
export type Subject = { readonly parent: Mandate | undefined; readonly actor: Mandate | undefined }

/**
 * RFC 8693 §2.1: the subject token is a mandate of this zone that is in force, not revoked and not single-use; the actor token,
 * if present, is a mandate of the client that asks. Anything else is refused without saying why.
 */
export function verifySubject(
  desk: MintDesk,
  { client, request }: { readonly client: AuthenticatedClient; readonly request: TokenRequest },
): Awaitable<Result<{ readonly subject: Subject }>> {
  return request.exchange === undefined ? NOBODY : verifyExchange(desk, client, request.exchange)
}

const NOBODY = ok({ subject: { parent: undefined, actor: undefined } })

async function verifyExchange(
  desk: MintDesk,
  client: AuthenticatedClient,
  { subjectToken, actorToken }: NonNullable<TokenRequest['exchange']>,
): Promise<Result<{ readonly subject: Subject }>> {
  const parent = await usableMandate(desk, client, subjectToken, 'invalid_subject_token')
  if (!parent.ok) return parent
  if (parent.value.claims.once === true) return refuse('invalid_subject_token', 'a single-use mandate cannot be exchanged')
  if (parent.value.claims.cnf !== undefined) return refuse('invalid_subject_token', 'a mandate bound to a key cannot be exchanged')
  if (actorToken === undefined) return ok({ subject: { parent: parent.value, actor: undefined } })

  const actor = await usableMandate(desk, client, actorToken, 'invalid_actor_token')
  if (!actor.ok) return actor
  if (actor.value.claims.client_id !== client.application.id) return refuse('invalid_actor_token')
  return ok({ subject: { parent: parent.value, actor: actor.value } })
}

async function usableMandate(
  desk: MintDesk,
  client: AuthenticatedClient,
  token: string,
  reason: 'invalid_subject_token' | 'invalid_actor_token',
): Promise<Result<Mandate>> {
  const verified = await desk.mandates.verify(token, desk.clock() / 1000)
  if (!verified.ok) return verified.reason === 'keys_unavailable' ? refuse('keys_unavailable') : refuse(reason)
  const { claims, revocable } = verified.value
  if (claims.zone !== client.zone.snapshot.id) return refuse(reason)
  if (desk.revocations.isRevoked(revocable) !== null) return refuse(reason)
  return verified
}

/**
 * RFC 8693 §4.1: an Application that narrows its own mandate stays who it was; another one becomes the current actor, and those
 * before it history. An Application that works with delegated authority acts for the Applications that delegated.
 * `principals`: who delegated, root → nearest. At most ten deep.
 */
export function actorChain(
  caller: ApplicationId,
  parent: { readonly client_id: ApplicationId; readonly act?: Actor } | undefined,
  principals: readonly ApplicationId[],
): Result<Actor | undefined, 'lineage_too_deep'> {
  let chain: Actor | undefined
  if (parent !== undefined) chain = parent.act ?? { sub: parent.client_id }
  for (const principal of principals) chain = within(chain, principal)
  const acts = within(chain, caller)
  // Nobody acted before: no actor to tell of.
  if (acts.act === undefined && parent?.act === undefined) return ok(undefined)
  return depth(acts) > MAX_LINEAGE ? refuse('lineage_too_deep', 'act') : ok(acts)
}

function within(chain: Actor | undefined, sub: string): Actor {
  if (chain === undefined) return { sub }
  return chain.sub === sub ? chain : { sub, act: chain }
}

function depth(actor: Actor): number {
  return actor.act === undefined ? 1 : 1 + depth(actor.act)
}
