import { newId, ok, type Result, type Revocation, refuse } from '@caracal/core'
import type { RevocationView } from '@caracal/enforcement'
import { type Database, enqueue, inZone, type OutboxMessage, type Queryable, revoke } from '@caracal/postgres'
import { infrastructureReason } from '@caracal/service'
import { announceRevocations, type EventDraft, type Streams } from '@caracal/streams'
import type { MintDesk } from '../mint/mint-desk.ts'
import type { TokenCall } from '../mint/token-call.ts'
import { presentedToken } from './presented-token.ts'

export type RevocationDesk = MintDesk & {
  /** Evidence in the transaction of the change it is about. */
  readonly evidenceIn: (draft: EventDraft) => OutboxMessage
  readonly database: Database
  readonly streams: Pick<Streams, 'driver' | 'publish'>
  readonly view: Pick<RevocationView, 'apply'>
}

/**
 * RFC 7009 §2: a client revokes its own mandate and with it every mandate exchanged from it. Unknown, expired, revoked already and of
 * another client: done, for there is nothing to do. Row, evidence and message are one transaction; here it counts at once. When it cannot
 * be made durable: 503, never a 200 that revoked nothing.
 */
export async function revokeMandate(desk: RevocationDesk, call: TokenCall): Promise<Result<undefined>> {
  const asked = await presentedToken(desk, call)
  if (!asked.ok) return asked
  const { client, token } = asked.value
  const verified = await desk.mandates.verify(token, desk.clock() / 1000)
  if (!verified.ok) return verified.reason === 'keys_unavailable' ? verified : ok(undefined)
  const { claims } = verified.value
  if (claims.zone !== client.zone.snapshot.id || claims.client_id !== client.application.id) return ok(undefined)
  if (desk.revocations.isRevoked([claims.jti]) !== null) return ok(undefined)

  const at = desk.clock()
  const by = client.application.id
  const message: Revocation = { v: 1, op: 'revoke', kind: 'mandate', id: claims.jti, zone: claims.zone, at, reason: 'by its client' }
  try {
    const work = async (tx: Queryable) => {
      const row = {
        id: newId('revocation', at),
        zone: claims.zone,
        kind: 'mandate' as const,
        target: claims.jti,
        reason: message.reason,
        by,
      }
      const { created } = await revoke(tx, row, at)
      if (!created) return
      const event = desk.evidenceIn({
        zone: claims.zone,
        type: 'revocation.published',
        actor: { application: by },
        target: { kind: 'mandate', id: claims.jti },
        mandate: { jti: claims.jti, txn: claims.txn, expiry: claims.exp },
        request_id: call.requestId,
        ...(call.clientRequestId === undefined ? {} : { client_request_id: call.clientRequestId }),
      })
      await enqueue(tx, [event, { stream: 'caracal.revocations', aggregate: claims.jti, payload: JSON.stringify(message) }])
    }
    await inZone(claims.zone, () => desk.database.transaction(work))
  } catch (error) {
    return refuse(infrastructureReason(error) ?? 'store_unavailable')
  }
  desk.view.apply(message)
  await announceRevocations(desk.streams, [message])
  return ok(undefined)
}
