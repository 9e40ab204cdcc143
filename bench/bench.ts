import type { Installation } from './installation.ts'
import type { ProcessorTime } from './processor-time.ts'
import { perRequest } from './processor-time.ts'
import type { Load, Run } from './wrk.ts'
import { wrk } from './wrk.ts'
import type { Zone } from './zone.ts'

/** What a scenario that needs Caracal running is given. */
export type Bench = {
  readonly installation: Installation
  readonly zone: Zone
  /** Seconds of one measurement. */
  readonly seconds: number
  /** Seconds of the one that lasts: the minute of the headline. */
  readonly long: number
  /** How often the sides of a comparison take turns, since a machine drifts; medians count. */
  readonly turns: number
  /** Seconds of load before a measurement, so that everything is compiled and connected. */
  readonly warm: number
}

export type Timed = Run & { readonly cpuPerRequest: ProcessorTime }

/** One load, with the processor time that every process spent per request, the generator among them. */
export async function timed(installation: Pick<Installation, 'time'>, load: Load): Promise<Timed> {
  const before = installation.time()
  const run = await wrk(load)
  const after = installation.time()
  if (run.said !== '') process.stderr.write(`${run.said}\n`)
  const generator = { generator: Math.round(run.cpu / Math.max(1, run.requests)) }
  return { ...run, cpuPerRequest: { ...perRequest(before, after, run.requests), ...generator } }
}

export const ms = (micros: number): number => Math.round(micros / 10) / 100
