import type { Database } from '@caracal/postgres'
import { claimInPostgres } from './postgres-append.ts'
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

/** Answers everybody; a failure is the answer to all. */
async function claimTogether(database: Database, wanted: ReadonlyMap<string, WantedClaim>): Promise<void> {
  const all = [...wanted.values()]
  try {
    const lost = await claimInPostgres(database, all)
    for (const { key, resolve } of all) resolve(!lost.has(key))
  } catch (error) {
    for (const { reject } of all) reject(error)
  }
}
