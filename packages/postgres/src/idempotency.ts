import type { UnixMillis } from '@caracal/core'
import { sql } from 'kysely'
import { timestamp } from './column.ts'
import type { Queryable } from './database.ts'

/** Whose key it is, and which. */
export type ReceiptKey = { readonly principal: string; readonly key: string }

/** The answer that is given again. */
export type StoredAnswer = { readonly status: number; readonly headers: Readonly<Record<string, string>>; readonly body: string }

/** A claim that was never answered (its process died) is free again after this long, in milliseconds. */
const CLAIM_LIFE = 60_000
/** How long an answer is given again, in milliseconds (3-wire). */
const ANSWER_LIFE = 24 * 3600 * 1000

export type ReceiptClaim =
  | { readonly state: 'claimed' }
  | { readonly state: 'in_flight' }
  | { readonly state: 'other_request' }
  | { readonly state: 'answered'; readonly answer: StoredAnswer }

/**
 * Claims a key for one request, before the work and outside its transaction: of several at once exactly one is `claimed`.
 * `requestSha256` covers method, path and body. What ran out is claimed anew.
 */
export async function claimReceipt(db: Queryable, key: ReceiptKey, requestSha256: string, now: UnixMillis): Promise<ReceiptClaim> {
  const fresh = {
    request_sha256: requestSha256,
    status: null,
    headers: null,
    body: null,
    created_at: timestamp(now),
    expires_at: timestamp(now + CLAIM_LIFE),
  }
  const claimed = await db
    .insertInto('idempotency_receipts')
    .values({ ...key, ...fresh })
    .onConflict((conflict) =>
      conflict.columns(['principal', 'key']).doUpdateSet(fresh).where('idempotency_receipts.expires_at', '<=', timestamp(now)),
    )
    .returning('key')
    .executeTakeFirst()
  if (claimed) return { state: 'claimed' }
  const row = await byKey(db, key)
  if (!row) return { state: 'in_flight' } // given back a moment ago: the client repeats
  if (row.request_sha256 !== requestSha256) return { state: 'other_request' }
  if (row.status === null) return { state: 'in_flight' }
  return { state: 'answered', answer: { status: row.status, headers: row.headers ?? {}, body: row.body ?? '' } }
}

/** Keeps the answer, in the transaction of the work. */
export async function answerReceipt(tx: Queryable, key: ReceiptKey, answer: StoredAnswer, now: UnixMillis): Promise<void> {
  await answerReceipts(tx, [{ key, answer }], now)
}

/** Keeps many answers, each under its own key, in the transaction of their work. */
export async function answerReceipts(
  tx: Queryable,
  answers: readonly { readonly key: ReceiptKey; readonly answer: StoredAnswer }[],
  now: UnixMillis,
): Promise<void> {
  if (answers.length === 0) return
  const column = <T>(of: (one: (typeof answers)[number]) => T) => answers.map(of)
  await sql`
    UPDATE idempotency_receipts AS receipt
    SET status = given.status, headers = given.headers, body = given.body, expires_at = ${timestamp(now + ANSWER_LIFE)}
    FROM unnest(
      ${column(({ key }) => key.principal)}::text[], ${column(({ key }) => key.key)}::text[],
      ${column(({ answer }) => answer.status)}::integer[], ${column(({ answer }) => JSON.stringify(answer.headers))}::jsonb[],
      ${column(({ answer }) => answer.body)}::text[]
    ) AS given (principal, key, status, headers, body)
    WHERE receipt.principal = given.principal AND receipt.key = given.key`.execute(tx)
}

/** Gives a claim back whose work did not happen, so that the same key may be tried again. */
export async function abandonReceipt(db: Queryable, key: ReceiptKey): Promise<void> {
  await db
    .deleteFrom('idempotency_receipts')
    .where('principal', '=', key.principal)
    .where('key', '=', key.key)
    .where('status', 'is', null)
    .execute()
}

/** Forgets what ran out, at most so many; returns how many. One that is being claimed anew stays. */
export async function purgeReceipts(db: Queryable, now: UnixMillis, most = 1_000): Promise<number> {
  const result = await db
    .deleteFrom('idempotency_receipts')
    .where((eb) =>
      eb(
        eb.refTuple('principal', 'key'),
        'in',
        eb
          .selectFrom('idempotency_receipts')
          .select(['principal', 'key'])
          .where('expires_at', '<=', timestamp(now))
          .orderBy('expires_at')
          .limit(most)
          .forUpdate()
          .skipLocked()
          .$asTuple('principal', 'key'),
      ),
    )
    .executeTakeFirst()
  return Number(result.numDeletedRows)
}

async function byKey(db: Queryable, { principal, key }: ReceiptKey) {
  return await db
    .selectFrom('idempotency_receipts')
    .selectAll()
    .where('principal', '=', principal)
    .where('key', '=', key)
    .executeTakeFirst()
}
