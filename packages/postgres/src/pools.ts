import { setTimeout as sleep } from 'node:timers/promises'
import type { PostgresPool } from 'kysely'
import pg from 'pg'
import type { DatabaseLogger, PoolState } from './database.ts'

/** One pool at a time; a replaced one ends when the last of its connections was given back. */
export type Pools = {
  now(): pg.Pool
  /** Whichever is the one at the moment, as a pool. */
  readonly pool: PostgresPool
  replace(settings: pg.ClientConfig): void
  /** Who hears how long each request for a connection took, in seconds. */
  onWait(listener: (seconds: number) => void): void
  /** Ends all of them; idempotent. */
  end(): Promise<void>
}

/** Waiting for a connection of a pool that is replaced is looked at so often. Milliseconds. */
const LOOK_MS = 20

export function openPools(settings: pg.ClientConfig, max: number, logger: DatabaseLogger): Pools {
  const leaving = new Set<Promise<void>>()
  let current = open(settings)
  let waited: ((seconds: number) => void) | undefined

  function open(own: pg.ClientConfig): pg.Pool {
    const pool = new pg.Pool({ ...own, max })
    // Without these listeners a connection that breaks, idle or in use, would end the process (P-137).
    pool.on('error', (error) => logger.warn({ err: error }, 'an idle database connection broke'))
    pool.on('connect', (client) => client.on('error', () => {})) // in use: its statement fails with the same error
    return pool
  }

  async function leave(pool: pg.Pool): Promise<void> {
    // Who waits for one of its connections is served: a pool that is ended forgets them.
    while (pool.waitingCount > 0) await sleep(LOOK_MS)
    if (!pool.ending) await pool.end()
  }

  const end = async () => {
    await Promise.all(leaving)
    if (!current.ending) await current.end()
  }
  return {
    now: () => current,
    pool: {
      connect: () => {
        const given = current.connect()
        const heard = waited
        if (heard !== undefined) {
          const began = performance.now()
          given.then(
            () => heard((performance.now() - began) / 1000),
            () => undefined, // whoever asked hears of it
          )
        }
        return given
      },
      end,
      get options() {
        return current.options
      },
    },
    onWait: (listener) => {
      waited = listener
    },
    end,
    replace(next) {
      const former = current
      current = open(next)
      const left = leave(former)
        .catch((error: unknown) => logger.warn({ err: error }, 'connections of a former login did not end'))
        .finally(() => leaving.delete(left))
      leaving.add(left)
    },
  }
}

export function poolState(pool: pg.Pool, max: number): PoolState {
  return { max, inUse: pool.totalCount - pool.idleCount, idle: pool.idleCount, waiting: pool.waitingCount }
}

/** Rejects with the server's own words when nobody is let in with these settings. */
export async function canLogIn(settings: pg.ClientConfig): Promise<void> {
  const client = new pg.Client(settings)
  client.on('error', () => {}) // says the same again
  try {
    await client.connect()
  } finally {
    await client.end().catch(() => undefined)
  }
}
