import { setTimeout as sleep } from 'node:timers/promises'
import { callService } from '../api-client.ts'
import { CliError } from '../cli-error.ts'
import { colour } from '../output.ts'
import type { CommandContext } from './command.ts'
import { findZone } from './find.ts'

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
  const zone = await findZone(where, options.zone)
  const found = await whenRecorded(() =>
    callService<Explanation>(where.api, where.token, `/v1/zones/${zone.id}/events/explain/${options.requestId}`),
  )
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

async function whenRecorded(ask: () => Promise<Explanation>): Promise<Explanation> {
  const deadline = performance.now() + RECORDED_WITHIN_MS
  for (;;) {
    try {
      return await ask()
    } catch (error) {
      if (!(error instanceof CliError) || !error.message.startsWith('not_found') || performance.now() > deadline) throw error
      await sleep(200)
    }
  }
}
