import { colour, type Output } from '../output.ts'

/** What kind of fault it is, for those who sort by it. */
export type FaultClass =
  | 'dns'
  | 'refused'
  | 'tls'
  | 'auth'
  | 'database_missing'
  | 'privilege'
  | 'secret_key_missing'
  | 'secret_weak'
  | 'version'
  | 'capacity'
  | 'configuration'
  | 'clock'
  | 'other'

/** One thing that was looked at. */
export type Finding = {
  readonly name: string
  readonly ok: boolean
  /** What was found, in words; never a secret. */
  readonly message: string
  readonly class?: FaultClass
  /** What to do about it. */
  readonly fix?: string
  /** It does not hold and does not stop anything. */
  readonly warning?: true
  /** What belongs to it: host, port, user, … */
  readonly facts?: Readonly<Record<string, unknown>>
}

export const holds = (name: string, message: string, facts: Finding['facts'] = {}): Finding => ({ name, ok: true, message, facts })

export const fails = (name: string, fault: FaultClass, message: string, fix?: string, facts: Finding['facts'] = {}): Finding => ({
  name,
  ok: false,
  class: fault,
  message,
  ...(fix === undefined ? {} : { fix }),
  facts,
})

export const warns = (finding: Finding): Finding => ({ ...finding, ok: true, warning: true })

/** The clocks of machines that decide together may differ by less than this. Milliseconds. */
const MOST_SKEW_MS = 2_000

/** How far the clock of a server, which read `at` a moment ago, is from this machine's. Unix milliseconds. */
export function clockFinding(name: string, at: number): Finding {
  const skewMs = Math.round(Date.now() - at)
  return Math.abs(skewMs) <= MOST_SKEW_MS
    ? holds(name, `this machine's clock and the server's differ by ${Math.abs(skewMs)} ms`, { skewMs })
    : fails(name, 'clock', `this machine's clock differs from the server's by ${Math.abs(skewMs)} ms`, 'Synchronise the clocks (NTP).', {
        skewMs,
      })
}

/** The finding as one flat JSON object. */
export function asRecord({ facts, ...finding }: Finding): Readonly<Record<string, unknown>> {
  return { ...finding, ...facts }
}

/** One line of a table on a terminal. */
export function asLine({ name, ok, message, class: fault, warning, fix }: Finding): string {
  const mark = warning ? colour('yellow', 'warn') : ok ? colour('green', 'ok  ') : colour('red', 'FAIL')
  const kind = ok || fault === undefined ? '' : ` [${fault}]`
  const advice = (!ok || warning) && fix !== undefined ? `\n       ${fix}` : ''
  return `${mark} ${name.padEnd(20)} ${message}${kind}${advice}`
}

/** Each finding as it comes: a line for a person, a line of JSON for a pipe. */
export function tell(output: Output, finding: Finding, terminal: boolean): void {
  output.line(terminal ? asLine(finding) : JSON.stringify(asRecord(finding)))
}
