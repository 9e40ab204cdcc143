import { readSamples, type Samples } from './samples.ts'

/** One process of a role, as it was at one moment. */
export type Replica = {
  readonly role: string
  /** Pod, or the URL it was asked at. */
  readonly name: string
  /** Status 0: nothing answered. */
  readonly ready: { readonly status: number; readonly reasons: readonly string[] }
  /** Null: not to be had. */
  readonly metrics: Samples | null
}

/** All of them at about the same time. */
export type Look = { readonly at: number; readonly replicas: readonly Replica[] }

/** Where a replica answers probes and metrics. */
export type ReplicaAddress = { readonly role: string; readonly name: string; readonly url: string }

const LIMIT_MS = 10_000

/** Asks one replica. Never rejects: that it does not answer is what it said. */
export async function askReplica({ role, name, url }: ReplicaAddress, bearer: string | undefined): Promise<Replica> {
  const [ready, metrics] = await Promise.all([readyOf(url), metricsOf(url, bearer)])
  return { role, name, ready, metrics }
}

async function readyOf(url: string): Promise<Replica['ready']> {
  try {
    const answer = await fetch(`${url}/ready`, { signal: AbortSignal.timeout(LIMIT_MS) })
    const body = (await answer.json()) as { readonly reasons?: readonly string[] }
    return { status: answer.status, reasons: body.reasons ?? [] }
  } catch {
    return { status: 0, reasons: ['does not answer'] }
  }
}

async function metricsOf(url: string, bearer: string | undefined): Promise<Samples | null> {
  try {
    const headers = bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }
    const answer = await fetch(`${url}/metrics`, { headers, signal: AbortSignal.timeout(LIMIT_MS) })
    return answer.status === 200 ? readSamples(await answer.text()) : null
  } catch {
    return null
  }
}
