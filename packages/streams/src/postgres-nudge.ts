import type { StreamName } from '@caracal/core'
import type { Database } from '@caracal/postgres'
import { WAKE_CHANNEL } from './postgres-wake.ts'

/** Readers are told of what follows within this time at once. Milliseconds. */
const TOGETHER_MS = 50
const NUDGE = { name: 'caracal_nudge', text: 'SELECT pg_notify($1, $2)' }

export type Nudge = {
  /** Something was committed to this stream: readers hear of it, at once after a pause. */
  committed(stream: StreamName): void
  /** Nobody is told any more; who reads looks by itself. */
  stop(): void
}

/**
 * Tells readers after the commit, by a statement of its own, and not for each commit of many. In the transaction it would make all
 * commits that notify wait for one another until each is on the disk.
 */
export function nudgeReaders(database: Database): Nudge {
  const resting = new Map<StreamName, NodeJS.Timeout>()
  const again = new Set<StreamName>()
  let stopped = false

  function tell(stream: StreamName): void {
    again.delete(stream)
    // It only saves readers time: they look each second.
    database.prepared(NUDGE, [WAKE_CHANNEL, stream]).catch(() => {})
    const rest = setTimeout(() => {
      resting.delete(stream)
      if (again.has(stream)) tell(stream)
    }, TOGETHER_MS)
    resting.set(stream, rest.unref())
  }

  return {
    committed(stream) {
      if (stopped) return
      if (resting.has(stream)) again.add(stream)
      else tell(stream)
    },
    stop() {
      stopped = true
      for (const rest of resting.values()) clearTimeout(rest)
    },
  }
}
