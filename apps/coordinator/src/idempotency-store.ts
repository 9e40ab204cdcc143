import type { Clock } from '@caracal/core'
import { abandonReceipt, answerReceipt, claimReceipt, type Database } from '@caracal/postgres'
import type { IdempotencyStore } from '@caracal/service'

/** Receipts in Postgres: shared by all replicas, and they survive a restart (P-044). */
export function idempotencyStore(database: Database, clock: Clock): IdempotencyStore {
  return {
    begin: (principal, key, fingerprint) => claimReceipt(database.query, { principal, key }, fingerprint, clock()),
    finish: (principal, key, answer) => answerReceipt(database.query, { principal, key }, answer, clock()),
    abandon: (principal, key) => abandonReceipt(database.query, { principal, key }),
  }
}
