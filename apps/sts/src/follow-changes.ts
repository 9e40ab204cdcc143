import type { BroadcastStream, Clock } from '@caracal/core'
import { readRevocation } from '@caracal/enforcement'
import type { Logger } from '@caracal/service'
import type { Position, Streams, Subscription } from '@caracal/streams'
import type { LineageReader } from './zones/lineage-reader.ts'
import type { Zones } from './zones/zones.ts'

/** Versions are compared this often even when no broadcast came (P-023). */
const COMPARE_EVERY_MS = 5_000

/** Keeps what is in memory current: broadcasts, and a comparison of versions each five seconds. */
export type ChangeFollower = {
  /** When the configuration was last compared with Postgres; null before the first time. */
  readonly comparedAt: () => number | null
  readonly stop: () => Promise<void>
}

/**
 * Follows configuration, policy, coordination and revocations from where they ended before the first load, so that nothing is missed
 * between (P-057). Resolves when everything is loaded once; a store that is away is tried again for ever.
 */
export async function followChanges(options: {
  readonly streams: Streams
  readonly zones: Zones
  readonly lineages: LineageReader
  readonly clock: Clock
  readonly logger: Logger
}): Promise<ChangeFollower> {
  const { streams, zones, lineages, clock, logger } = options
  const subscriptions: Subscription[] = []
  let comparedAt: number | null = null

  const compare = async () => {
    try {
      await zones.check()
      comparedAt = clock()
    } catch (error) {
      logger.warn({ err: error }, 'configuration could not be compared')
    }
  }
  const follow = async (stream: BroadcastStream, from: Position, onMessage: (payload: string) => void, onGap: () => void) => {
    subscriptions.push(await streams.subscribe(stream, from, { onMessage: ({ payload }) => onMessage(payload), onGap }))
  }
  const names = ['caracal.config', 'caracal.policy', 'caracal.coordination', 'caracal.revocations'] as const
  const tips = await Promise.all(names.map((name) => streams.tip(name)))
  const from = (name: (typeof names)[number]): Position => tips[names.indexOf(name)] ?? ''

  await compare()
  await follow(
    'caracal.config',
    from('caracal.config'),
    () => void compare(),
    () => void compare(),
  )
  await follow(
    'caracal.policy',
    from('caracal.policy'),
    () => void compare(),
    () => void compare(),
  )
  await follow('caracal.coordination', from('caracal.coordination'), (payload) => forget(lineages, payload), lineages.forgetAll)
  // A suspended or revoked link shows in the view at once; that it was lifted shows only when its row is read anew.
  await follow(
    'caracal.revocations',
    from('caracal.revocations'),
    (payload) => lineages.forget(readRevocation(payload)?.id ?? ''),
    lineages.forgetAll,
  )

  const timer = setInterval(() => void compare(), COMPARE_EVERY_MS)
  timer.unref()
  return {
    comparedAt: () => comparedAt,
    async stop() {
      clearInterval(timer)
      await Promise.all(subscriptions.map((subscription) => subscription.stop()))
    },
  }
}

function forget(lineages: LineageReader, payload: string): void {
  try {
    const { id } = JSON.parse(payload) as { id?: unknown }
    if (typeof id === 'string') lineages.forget(id)
  } catch {
    lineages.forgetAll()
  }
}
