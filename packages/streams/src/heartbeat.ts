import type { BroadcastStream, KeyRing } from '@caracal/core'
import { type Seal, sealMessage } from './message-authentication.ts'
import type { StreamLogger } from './stream-logger.ts'
import type { Subscription } from './streams.ts'

const EVERY_MS = 1_000

type Options = {
  readonly stream: BroadcastStream
  readonly keys: KeyRing
  readonly logger: StreamLogger
  readonly beat: (payload: string, seal: Seal) => Promise<void>
}

/** One heartbeat a second, the first at once. One that is still on its way is not doubled; a failure is logged once. */
export function startHeartbeat({ stream, keys, logger, beat }: Options): Subscription {
  let busy: Promise<void> | undefined
  let failing = false

  async function send(): Promise<void> {
    const payload = String(Date.now())
    try {
      await beat(payload, sealMessage(keys, { stream, kind: 'heartbeat', partition: '', payload }))
      failing = false
    } catch (error) {
      if (!failing) logger.warn({ err: error, stream }, 'the heartbeat of a stream cannot be sent')
      failing = true
    }
  }

  function tick(): void {
    busy ??= send().finally(() => {
      busy = undefined
    })
  }

  tick()
  const timer = setInterval(tick, EVERY_MS).unref()
  return {
    stop: async () => {
      clearInterval(timer)
      await busy
    },
  }
}
