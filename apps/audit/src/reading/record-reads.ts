import type { ZoneId } from '@caracal/core'
import { type Database, enqueue, type OutboxMessage } from '@caracal/postgres'
import type { Logger, RouteRequest } from '@caracal/service'
import type { EventDraft } from '@caracal/streams'

/** Reads of one kind by one token within this time are one event. Milliseconds. */
const WINDOW_MS = 1_000

/** Who reads, in which request. */
export type Reader = Pick<RouteRequest, 'id' | 'clientRequestId' | 'principal' | 'trace' | 'method' | 'url'>

/** Reading evidence is evidence (P-107): what was read, by whom. */
export type ReadRecorder = {
  /**
   * Resolves when the read is durable, before it is answered. The first of a kind by a token in a second is written at once; the
   * others of that second become one event that counts them.
   */
  read(reader: Reader, zone: ZoneId, what: string): Promise<void>
  /** An event of its own, never counted together: an export, a decision about the quarantine. */
  each(reader: Reader, draft: Pick<EventDraft, 'zone' | 'type' | 'details' | 'target'>): Promise<void>
  /** Writes what was counted. */
  stop(): Promise<void>
}

type Window = {
  readonly reader: Reader
  readonly zone: ZoneId
  readonly what: string
  readonly first: Promise<void>
  count: number
  readonly timer: NodeJS.Timeout
}

export function recordReads(options: {
  readonly database: Database
  readonly evidence: (draft: EventDraft) => OutboxMessage
  readonly logger: Logger
}): ReadRecorder {
  const windows = new Map<string, Window>()
  const write = (draft: EventDraft) => options.database.transaction((tx) => enqueue(tx, options.evidence(draft)))

  const close = async (key: string) => {
    const window = windows.get(key)
    if (window === undefined) return
    windows.delete(key)
    clearTimeout(window.timer)
    if (window.count === 0) return
    const { reader, zone, what, count } = window
    try {
      await write({ ...frame(reader), zone, type: 'evidence.read', details: { what }, count })
    } catch (error) {
      options.logger.error({ err: error, zone, what, count }, 'further reads of evidence could not be recorded')
    }
  }
  return {
    async read(reader, zone, what) {
      const key = JSON.stringify([principalOf(reader), zone, what])
      const open = windows.get(key)
      if (open !== undefined) {
        // Not before the event of the first one stands; when that failed, this one is refused as well.
        await open.first
        open.count += 1
        return
      }
      const first = write({ ...frame(reader), zone, type: 'evidence.read', details: { what } })
      const timer = setTimeout(() => void close(key), WINDOW_MS)
      timer.unref()
      windows.set(key, { reader, zone, what, first, count: 0, timer })
      try {
        await first
      } catch (error) {
        windows.delete(key)
        clearTimeout(timer)
        throw error
      }
    },
    each: (reader, draft) => write({ ...frame(reader), ...draft }),
    async stop() {
      await Promise.all([...windows.keys()].map(close))
    },
  }
}

function frame({
  id,
  clientRequestId,
  principal,
  trace,
  method,
  url,
}: Reader): Pick<EventDraft, 'actor' | 'operation' | 'request_id' | 'client_request_id' | 'trace_id'> {
  return {
    ...(principal.kind === 'admin' ? { actor: { admin: principal.id } } : {}),
    operation: { method, path: (url.split('?')[0] ?? '').slice(0, 512) },
    request_id: id,
    ...(clientRequestId === undefined ? {} : { client_request_id: clientRequestId }),
    trace_id: trace.traceId,
  }
}

function principalOf({ principal }: Reader): string {
  return principal.kind === 'admin' ? principal.id : principal.kind
}
