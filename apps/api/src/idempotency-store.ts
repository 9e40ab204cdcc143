import { abandonReceipt, answerReceipt, claimReceipt, type Database } from '@caracal/postgres'
import type { IdempotencyStore } from '@caracal/service'

/** Idempotency over Postgres, shared by all replicas. */
export function idempotencyStore(database: Database, now: () => number): IdempotencyStore {
  return {
    begin: (principal, key, fingerprint) => claimReceipt(database.query, { principal, key }, fingerprint, now()),
    finish: (principal, key, answer) => answerReceipt(database.query, { principal, key }, answer, now()),
    abandon: (principal, key) => abandonReceipt(database.query, { principal, key }),
  }
}
