import { Agent, request } from 'node:http'
import { newId, type Revocation } from '@caracal/core'
import { RevocationView } from '@caracal/enforcement'
import { startCluster } from '../tests/revocation/cluster.ts'
import { type Ground, KINDS, type Kind, openGround } from '../tests/revocation/ground.ts'
import { openStream } from '../tests/revocation/running-call.ts'
import { absolute, type Figure, relative } from './figure.ts'
import { startStores } from './stores.ts'

/** What one revocation took, in milliseconds since its request was sent and since it was answered. */
type Took = { readonly refusal: number; readonly cut: number; readonly refusalAfterAnswer: number; readonly cutAfterAnswer: number }

const LIMIT = { most: 100 }

/**
 * How long a revocation takes until another replica refuses, and until a running stream is cut, for every kind, each `rounds` times:
 * API, Coordinator, STS and two Gateways as processes of their own on Postgres with fsync and Redis. Counted from the moment the request
 * is sent, its transaction included; the refusal is looked for by calls one after the other, whose own time is in it.
 */
export async function measureRevocation({ rounds }: { readonly rounds: number }): Promise<Figure[]> {
  const stores = await startStores([])
  try {
    const cluster = await startCluster({ databaseUrl: stores.postgres.url, redisUrl: `${stores.redis.url}/0` })
    try {
      const ground = await openGround(cluster, rounds + 1)
      try {
        return [...(await everyKind(ground, rounds)), await costOfRevoking()]
      } finally {
        await ground.close()
      }
    } finally {
      await cluster.stop()
    }
  } finally {
    await stores.stop()
  }
}

async function everyKind(ground: Ground, rounds: number): Promise<Figure[]> {
  const all: Took[] = []
  const figures: Figure[] = []
  let errors = 0
  for (const kind of KINDS) {
    const took: Took[] = []
    let failed = 0
    // The first one warms up what this kind needs.
    for (let round = 0; round <= rounds; round += 1) {
      const one = await once(ground, kind, round).catch(() => null)
      if (one === null) failed += 1
      else if (round > 0) took.push(one)
    }
    all.push(...took)
    errors += failed
    figures.push(...pair(`, ${kind}`, took, failed))
  }
  return [...pair(', every kind', all, errors), ...figures]
}

/** Throws when something goes on that must not. */
async function once(ground: Ground, kind: Kind, round: number): Promise<Took> {
  const [first, second] = ground.cluster.gateways
  const target = await ground.target(kind, round)
  const running = await openStream(first.url, target.path, target.mandate)
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  try {
    if ((await status(agent, second.url, target)) !== 200) throw new Error('it does not work before')
    const sent = performance.now()
    let answered = Number.POSITIVE_INFINITY
    const revoking = target.revoke().then(() => {
      answered = performance.now()
    })
    while ((await status(agent, second.url, target)) === 200) if (performance.now() - sent > 10_000) throw new Error('still works')
    const refused = performance.now()
    const { at: cut, trailers } = await running.ended
    await revoking
    if (trailers['x-caracal-revoked'] !== 'true') throw new Error('the stream was not told')
    if ((await status(agent, second.url, target)) === 200) throw new Error('works again')
    const since = (moment: number, from: number) => Math.max(0, moment - from)
    return {
      refusal: since(refused, sent),
      cut: since(cut, sent),
      refusalAfterAnswer: since(refused, answered),
      cutAfterAnswer: since(cut, answered),
    }
  } finally {
    agent.destroy()
    running.stop()
  }
}

function status(agent: Agent, gateway: string, { path, mandate }: { readonly path: string; readonly mandate: string }): Promise<number> {
  return new Promise((resolve, reject) => {
    const going = request(`${gateway}${path}ping`, { agent, headers: { authorization: `Bearer ${mandate}` } }, (answer) => {
      answer.resume().once('end', () => resolve(answer.statusCode ?? 0))
    })
    going.once('error', reject)
    going.end()
  })
}

function pair(what: string, took: readonly Took[], errors: number): Figure[] {
  const figure = (name: string, of: keyof Took, afterAnswer: keyof Took) => {
    const values = took.map((one) => one[of])
    const after = took.map((one) => one[afterAnswer])
    return absolute(
      {
        name: `revocation to ${name}${what}, p99`,
        value: quantile(values, 0.99),
        unit: 'ms',
        errors,
        more: {
          n: values.length,
          p50: quantile(values, 0.5),
          p50_after_answer: quantile(after, 0.5),
          p99_after_answer: quantile(after, 0.99),
        },
      },
      LIMIT,
    )
  }
  return [figure('refusal at another Gateway', 'refusal', 'refusalAfterAnswer'), figure('cut of a running stream', 'cut', 'cutAfterAnswer')]
}

/** By nearest rank, to a tenth. */
function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return Math.round((sorted[Math.ceil(share * sorted.length) - 1] ?? Number.NaN) * 10) / 10
}

/** What revoking one id costs a replica with a million mandates in use, as a share of what it costs with none (P-177). */
async function costOfRevoking(): Promise<Figure> {
  const zone = newId('zone')
  const perRevocation = (mandates: number) => {
    const view = new RevocationView()
    view.startLoading().finish({ position: '0', entries: [] })
    for (let at = 0; at < mandates; at += 1) view.watch([`mnd_${at}`, `ses_${at % 1000}`], () => {})
    const rounds = 20_000
    const ids = Array.from({ length: rounds }, () => newId('session'))
    const began = performance.now()
    for (const id of ids) {
      const revocation: Revocation = { v: 1, op: 'revoke', kind: 'session', id, zone, at: 0, reason: 'bench' }
      view.apply(revocation)
      view.isRevoked([id])
    }
    return ((performance.now() - began) * 1000) / rounds
  }
  // The best of several: what else the machine does only adds.
  const best = (mandates: number) => Math.min(...Array.from({ length: 5 }, () => perRevocation(mandates)))
  const [none, million] = [best(0), best(1_000_000)]
  return relative(
    {
      name: 'revoking one id with 1,000,000 mandates in use',
      value: Math.round(million * 100) / 100,
      unit: 'µs',
      note: 'ratio to the same with none',
    },
    none,
    null,
  )
}
