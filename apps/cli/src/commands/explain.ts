import { setTimeout as sleep } from 'node:timers/promises'
import { callService } from '../api-client.ts'
import { CliError } from '../cli-error.ts'
import type { Context } from '../context.ts'
import { colour } from '../output.ts'
import type { CommandContext } from './command.ts'
import { findZone, listZones, type Named } from './find.ts'

type Explanation = {
  readonly request_id: string
  readonly summary: string
  readonly events: readonly {
    readonly id: string
    readonly time: string
    readonly type: string
    readonly decision?: string
    readonly reason?: string
  }[]
  readonly rules: readonly { readonly rule: string; readonly policy: string; readonly effect: string; readonly text: string }[]
  readonly remedy: string | null
}

/** The evidence of a request reaches the ledger a moment after the answer: so long it is asked for. Milliseconds. */
const RECORDED_WITHIN_MS = 3_000

/** What was asked, which rules decided, and what one would have to change, for one request id. */
export async function explain({ output, context }: CommandContext, options: { requestId: string; zone?: string }): Promise<void> {
  if (!/^req_[0-9a-z]{26}$/.test(options.requestId))
    throw new CliError(`${options.requestId} is not a request id.`, 'It is in the X-Request-Id header of every answer.', { exitCode: 2 })
  const where = context()
  const zones = options.zone === undefined ? await listZones(where) : [await findZone(where, options.zone)]
  const found = await untilFound(() => explanationIn(where, zones, options.requestId))
  if (output.json) return output.line(JSON.stringify(found))
  output.line(colour('bold', found.summary))
  for (const event of found.events) {
    output.line(
      `  ${event.time}  ${event.type}${event.decision ? `  ${event.decision}` : ''}${event.reason ? `  ${event.reason}` : ''}  ${colour('dim', event.id)}`,
    )
  }
  for (const rule of found.rules) output.line(`  rule ${rule.policy}/${rule.rule} (${rule.effect}): ${rule.text}`)
  if (found.remedy) output.line(`  ${colour('cyan', 'to change it:')} ${found.remedy}`)
}

/** The explanation from whichever of the zones has it. A request of no zone was refused before the zone was known. */
async function explanationIn(where: Context, zones: readonly Named[], requestId: string): Promise<Explanation | undefined> {
  for (const zone of zones) {
    try {
      return await callService<Explanation>(where.api, where.token, `/v1/zones/${zone.id}/events/explain/${requestId}`)
    } catch (error) {
      if (!(error instanceof CliError && error.code === 'not_found')) throw error
    }
  }
  return undefined
}

/** Evidence is durable at once and in the ledger a moment later: who asks right after the call waits for that moment. */
async function untilFound(find: () => Promise<Explanation | undefined>): Promise<Explanation> {
  const deadline = performance.now() + RECORDED_WITHIN_MS
  for (;;) {
    const found = await find()
    if (found !== undefined) return found
    if (performance.now() > deadline) {
      throw new CliError(
        'The ledger holds no event of that request.',
        'Is the zone right (--zone)? Calls of somebody who did not authenticate are counted in the ledger, not explained one by one.',
      )
    }
    await sleep(200)
  }
}
