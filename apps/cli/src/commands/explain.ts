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

/** What was asked, which rules decided, and what one would have to change, for one request id. */
export async function explain({ output, context }: CommandContext, options: { requestId: string; zone?: string }): Promise<void> {
  if (!/^req_[0-9a-z]{26}$/.test(options.requestId))
    throw new CliError(`${options.requestId} is not a request id.`, 'It is in the X-Request-Id header of every answer.', { exitCode: 2 })
  const where = context()
  const zone = await findZone(where, options.zone)
  const found = await callService<Explanation>(where.api, where.token, `/v1/zones/${zone.id}/events/explain/${options.requestId}`)
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
