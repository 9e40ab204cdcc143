import type { Refusal, Result } from '@caracal/core'

/** What is nearly always there at once, and waits only where somebody has to be asked. */
export type Awaitable<T> = T | Promise<T>

/** Takes what is established so far; adds to it, or refuses. Its name is the name of the check. */
export type Step<In, Add extends object> = (so: In) => Awaitable<Result<Add>>

/** All steps passed, or the first that refused with what was established before it: the evidence tells both. */
export type Outcome<Out> =
  | { readonly passed: true; readonly so: Out }
  | { readonly passed: false; readonly refusal: Refusal; readonly at: string; readonly so: Partial<Out> }

export type Pipeline<In extends object, Out extends object> = {
  readonly step: <Add extends object>(step: Step<Out, Add>) => Pipeline<In, Out & Add>
  /** Runs the steps in order. A throw is a bug or broken infrastructure and goes through: it never counts as passed. */
  readonly run: (input: In) => Promise<Outcome<Out>>
}

/** A list of named steps, each of which sees the types of what the ones before it established. */
export function pipeline<In extends object>(): Pipeline<In, In> {
  return extend<In, In>([])
}

type AnyStep = (so: never) => Awaitable<Result<object>>

function extend<In extends object, Out extends object>(steps: readonly AnyStep[]): Pipeline<In, Out> {
  return {
    step: (step) => extend([...steps, step as AnyStep]),
    async run(input) {
      const so: object = { ...input }
      for (const step of steps) {
        const answer = step(so as never)
        const result = answer instanceof Promise ? await answer : answer
        if (!result.ok) return { passed: false, refusal: result, at: step.name, so: so as Partial<Out> }
        Object.assign(so, result.value)
      }
      return { passed: true, so: so as Out }
    },
  }
}
