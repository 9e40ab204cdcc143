import type { Database } from '@caracal/postgres'
import { sql } from 'kysely'
import type { WantedClaim } from './wanted-claim.ts'

/**
 * Claims keys for their owners, each atomically: true when nobody had it, or this owner did. One statement runs at a time and serves
 * everything that came while the last one ran: under load a commit costs more than the claim does. A key that is wanted twice is in
 * two statements, one after the other.
 */
export function postgresClaims(database: Database): (key: string, owner: string, ttl: number) => Promise<boolean> {
  let wanted: WantedClaim[] = []
  let running = false

  async function run(): Promise<void> {
    running = true
    while (wanted.length > 0) {
      const now = new Map<string, WantedClaim>()
      const later: WantedClaim[] = []
      for (const one of wanted) {
        if (now.has(one.key)) later.push(one)
        else now.set(one.key, one)
      }
      wanted = later
      await claimTogether(database, now)
    }
    running = false
  }

  return (key, owner, ttl) =>
    new Promise((resolve, reject) => {
      wanted.push({ key, owner, ttl, resolve, reject })
      if (running) return
      running = true
      // What else comes in this turn of the event loop goes along.
      setImmediate(run)
    })
}

/** Answers everybody; a failure is the answer to all. Keys are taken in one order, so that two processes never wait for each other. */
async function claimTogether(database: Database, wanted: ReadonlyMap<string, WantedClaim>): Promise<void> {
  const all = [...wanted.values()]
  try {
    const { rows } = await sql<{ key: string; owner: string }>`
      INSERT INTO stream_claims AS held (key, owner, expires_at)
      SELECT key, owner, now() + ttl * interval '1 second'
      FROM unnest(${all.map(({ key }) => key)}::text[], ${all.map(({ owner }) => owner)}::text[], ${all.map(({ ttl }) => ttl)}::float8[])
        AS wanted (key, owner, ttl)
      ORDER BY key COLLATE "C"
      ON CONFLICT (key) DO UPDATE SET
        owner = CASE WHEN held.expires_at <= now() THEN excluded.owner ELSE held.owner END,
        expires_at = CASE WHEN held.expires_at <= now() THEN excluded.expires_at ELSE held.expires_at END
      RETURNING key, owner`.execute(database.query)
    const holders = new Map(rows.map(({ key, owner }) => [key, owner]))
    for (const { key, owner, resolve } of all) resolve(holders.get(key) === owner)
  } catch (error) {
    for (const { reject } of all) reject(error)
  }
}
