import fc from 'fast-check'

/** A parser under fire: what goes in, and what must hold of it for every input. */
export type Target = {
  readonly name: string
  /** What is shown, as the title of a test. */
  readonly guarantee: string
  /** Inputs of the default run. */
  readonly runs: number
  readonly property: fc.IAsyncProperty<unknown>
}

/** Fits `check` over `inputs`; it throws when the guarantee is broken. */
export function target<Input>(
  about: { readonly name: string; readonly guarantee: string; readonly runs: number },
  inputs: fc.Arbitrary<Input>,
  check: (input: Input) => void | Promise<void>,
): Target {
  return { ...about, property: fc.asyncProperty(inputs, async (input) => check(input)) as fc.IAsyncProperty<unknown> }
}

/** Runs a target once. Undefined, or a report with the seed, the path and the shrunk input. */
export async function fire({ property, name }: Target, { seed, runs }: { readonly seed: number; readonly runs: number }) {
  const found = await fc.check(property, { seed, numRuns: runs })
  if (!found.failed) return undefined
  return `${name}, FUZZ_SEED=${seed}\n${await fc.asyncDefaultReportMessage(found)}\n${found.errorInstance}`
}
