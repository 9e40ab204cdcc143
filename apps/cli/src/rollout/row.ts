import { colour } from '../output.ts'

/** `go` holds; `stop` does not; `wait` not yet; `unknown` could not be told; `none` does not apply to this installation. */
export type RowState = 'go' | 'stop' | 'wait' | 'unknown' | 'none'

/** One gate or stop condition of a rollout, and what it was told by. */
export type Row = { readonly id: string; readonly name: string; readonly state: RowState; readonly evidence: string }

export const row = (id: string, name: string, state: RowState, evidence: string): Row => ({ id, name, state, evidence })

export type Decision = 'go' | 'stop' | 'cannot tell'

/** One stop stops; without one, everything must hold or not apply. */
export function decide(rows: readonly Row[]): Decision {
  if (rows.some(({ state }) => state === 'stop')) return 'stop'
  return rows.every(({ state }) => state === 'go' || state === 'none') ? 'go' : 'cannot tell'
}

/** Exit codes of `caracal rollout check`. */
export const EXIT: Readonly<Record<Decision, number>> = { go: 0, stop: 3, 'cannot tell': 1 }

const COLOURS = { go: 'green', stop: 'red', wait: 'yellow', unknown: 'yellow', none: 'dim' } as const

/** The rows as lines, aligned. */
export function linesOf(rows: readonly Row[]): string[] {
  const width = Math.max(...rows.map(({ name }) => name.length))
  return rows.map(
    ({ id, name, state, evidence }) => `${id.padEnd(3)} ${colour(COLOURS[state], state.padEnd(7))} ${name.padEnd(width)}  ${evidence}`,
  )
}
