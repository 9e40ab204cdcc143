import { expect } from 'vitest'
import type { Service } from '../e2e/services.ts'

/** Waits until `/ready` of a process says exactly this; no reasons: that it is ready. */
export async function untilReady(service: Service, ...reasons: string[]): Promise<void> {
  const wanted = { status: reasons.length === 0 ? 200 : 503, reasons }
  await expect.poll(() => service.ready(), { message: `/ready of ${service.name}` }).toEqual(wanted)
}

/** What `/health` says of each check. */
export async function checksOf(service: Service): Promise<Record<string, string>> {
  const answer = await fetch(`${service.url}/health`)
  return ((await answer.json()) as { checks: Record<string, string> }).checks
}

/** The value of a metric without labels. */
export async function metricOf(service: Service, name: string): Promise<number> {
  const text = await (await fetch(`${service.metrics}/metrics`)).text()
  const line = text.split('\n').find((one) => one.startsWith(`${name} `))
  if (line === undefined) throw new Error(`${service.name} has no metric ${name}`)
  return Number(line.slice(name.length))
}
