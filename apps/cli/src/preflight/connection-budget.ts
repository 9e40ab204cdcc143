/** Replicas of one role at most, and how many connections to Postgres each of them opens at most (`DATABASE_POOL`). */
export type RolePlan = { readonly role: string; readonly replicas: number; readonly pool: number }

export type ConnectionBudget = {
  readonly ok: boolean
  /** Σ replicas × pool. */
  readonly needed: number
  /** 80 % of what the database takes; the rest is for notifications, migrations, operators, and a login that is being replaced. */
  readonly allowed: number
  readonly maxConnections: number
}

const SHARE = 0.8

/** Whether all replicas together stay within the database's connections when every pool is full (P-170). */
export function connectionBudget(plans: readonly RolePlan[], maxConnections: number): ConnectionBudget {
  const needed = plans.reduce((sum, { replicas, pool }) => sum + replicas * pool, 0)
  const allowed = Math.floor(maxConnections * SHARE)
  return { ok: needed <= allowed, needed, allowed, maxConnections }
}
