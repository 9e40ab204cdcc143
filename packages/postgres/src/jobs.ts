import { sql } from 'kysely'
import type { Queryable } from './database.ts'

/** Who does a job now. The fence is larger than that of everybody who did it before. */
export type JobLease = { readonly name: string; readonly owner: string; readonly fence: number }

export type JobStanding = {
  /** Undefined: somebody else does it. */
  readonly lease: JobLease | undefined
  /** Until the lease that stands runs out, if it is not renewed. Milliseconds. */
  readonly leftMs: number
  /** Since it last ended well; before the first time, since it was first looked for. Milliseconds. */
  readonly endedAgoMs: number
}

/** The lease of a job is over: what its former owner was about to write must not be. */
export class JobLost extends Error {
  constructor(name: string) {
    super(`the lease of the job ${name} is over`)
  }
}

/** Takes the job if nobody holds it: compare-and-swap, on the clock of the database. Of several at once one gets it. */
export async function takeJob(db: Queryable, name: string, owner: string, leaseMs: number): Promise<JobStanding> {
  const seen = (await lookAtJob(db, name)) ?? (await createJob(db, name, owner))
  if (seen.leftMs > 0) return { ...seen, lease: undefined }
  const { rows } = await sql<{ fence: number }>`
    UPDATE jobs SET owner = ${owner}, fence = fence + 1, lease_until = clock_timestamp() + ${leaseMs} * interval '1 millisecond'
    WHERE name = ${name} AND fence = ${seen.fence} AND lease_until <= clock_timestamp()
    RETURNING fence`.execute(db)
  const fence = rows[0]?.fence
  return { ...seen, leftMs: leaseMs, lease: fence === undefined ? undefined : { name, owner, fence } }
}

/** Whether the lease still stood; if so it stands for `leaseMs` from now. One that ran out is not revived. */
export async function renewJob(db: Queryable, { name, fence }: JobLease, leaseMs: number): Promise<boolean> {
  const { rows } = await sql`
    UPDATE jobs SET lease_until = clock_timestamp() + ${leaseMs} * interval '1 millisecond' WHERE ${standing(name, fence)}
    RETURNING name`.execute(db)
  return rows.length === 1
}

/**
 * The last statement of each transaction in which a job changes something: throws `JobLost` when the lease is over. Nobody takes the
 * job until that transaction has ended.
 */
export async function demandJob(tx: Queryable, { name, fence }: JobLease): Promise<void> {
  const { rows } = await sql`SELECT name FROM jobs WHERE ${standing(name, fence)} FOR SHARE`.execute(tx)
  if (rows.length === 0) throw new JobLost(name)
}

/** A run begins. Throws `JobLost` when the lease is over. */
export async function beginJob(db: Queryable, { name, fence }: JobLease): Promise<void> {
  const { rows } = await sql`
    UPDATE jobs SET last_started = clock_timestamp() WHERE ${standing(name, fence)} RETURNING name`.execute(db)
  if (rows.length === 0) throw new JobLost(name)
}

/** A run has ended, well or not. What is said after the lease was over does not count. */
export async function endJob(db: Queryable, { name, fence }: JobLease, run: { readonly ok: boolean; readonly ms: number }): Promise<void> {
  const outcome = run.ok
    ? sql`last_succeeded = clock_timestamp(), last_duration = ${run.ms} * interval '1 millisecond'`
    : sql`failures = failures + 1`
  await sql`UPDATE jobs SET ${outcome} WHERE ${standing(name, fence)}`.execute(db)
}

/** Gives the job back, for whoever looks next. */
export async function releaseJob(db: Queryable, { name, fence }: JobLease): Promise<void> {
  await sql`UPDATE jobs SET lease_until = clock_timestamp() WHERE ${standing(name, fence)}`.execute(db)
}

function standing(name: string, fence: number) {
  return sql`name = ${name} AND fence = ${fence} AND lease_until > clock_timestamp()`
}

type Seen = { readonly fence: number; readonly leftMs: number; readonly endedAgoMs: number }

async function lookAtJob(db: Queryable, name: string): Promise<Seen | undefined> {
  const { rows } = await sql<Seen>`
    SELECT fence, greatest(extract(epoch FROM lease_until - clock_timestamp()) * 1000, 0)::float8 AS "leftMs",
      greatest(extract(epoch FROM clock_timestamp() - coalesce(last_succeeded, created_at)) * 1000, 0)::float8 AS "endedAgoMs"
    FROM jobs WHERE name = ${name}`.execute(db)
  return rows[0]
}

/** The row of a job that nobody looked for yet; it is free. */
async function createJob(db: Queryable, name: string, owner: string): Promise<Seen> {
  await sql`INSERT INTO jobs (name, owner, fence, lease_until) VALUES (${name}, ${owner}, 0, clock_timestamp())
    ON CONFLICT (name) DO NOTHING`.execute(db)
  return { fence: 0, leftMs: 0, endedAgoMs: 0 }
}
