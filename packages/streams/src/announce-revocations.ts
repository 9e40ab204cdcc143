import { setTimeout as sleep } from 'node:timers/promises'
import type { BroadcastStream, PolicyMessage, Revocation } from '@caracal/core'
import type { Streams } from './streams.ts'

const PATIENCE_MS = 1_000

type News = { readonly stream: BroadcastStream; readonly payload: string }

/**
 * Publishes revocations whose transaction has just committed, before who asked for them is answered: should Postgres go away at
 * that moment, their rows in the outbox would wait for its return, and the heartbeat of the stream would go on vouching for views
 * that lack them. The outbox says them again; a lift is left to it, because only it keeps the order. Waits a second at most and
 * never rejects: while the stream store is away replicas ask for revocations instead.
 */
export async function announceRevocations(streams: Pick<Streams, 'driver' | 'publish'>, revocations: readonly Revocation[]): Promise<void> {
  const news = revocations.filter(({ op }) => op === 'revoke')
  await announce(
    streams,
    news.map((revocation) => ({ stream: 'caracal.revocations', payload: JSON.stringify(revocation) })),
  )
}

/** The same for policies that were just activated: what they end is ended as soon. They name a version, so they may come in any order. */
export async function announcePolicies(streams: Pick<Streams, 'driver' | 'publish'>, activated: readonly PolicyMessage[]): Promise<void> {
  await announce(
    streams,
    activated.map((message) => ({ stream: 'caracal.policy', payload: JSON.stringify(message) })),
  )
}

async function announce(streams: Pick<Streams, 'driver' | 'publish'>, news: readonly News[]): Promise<void> {
  // A stream in Postgres has no heartbeat without it either.
  if (news.length === 0 || streams.driver === 'postgres') return
  const patience = new AbortController()
  const published = Promise.allSettled(news.map(({ stream, payload }) => streams.publish(stream, payload)))
  await Promise.race([published, sleep(PATIENCE_MS, undefined, { signal: patience.signal }).catch(() => {})])
  patience.abort()
}
