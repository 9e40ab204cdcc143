import { TypeError as CelTypeError, EvaluationError } from '@marcbachmann/cel-js'
import type { ConditionOutcome } from '../condition.ts'
import { ConditionContext, conditionEnvironment } from '../condition-environment.ts'
import type { DecisionInput } from '../decision-input.ts'

/** What the library alone says about a condition that compiles, in the words of an outcome. */
export function byLibrary(source: string, input: DecisionInput): ConditionOutcome {
  const run = conditionEnvironment.parse(source)
  run.check()
  try {
    const value: unknown = run(new ConditionContext(input))
    return typeof value === 'boolean' ? { matched: value } : { matched: false, failed: 'not_bool' }
  } catch (error) {
    const known = error instanceof EvaluationError || error instanceof CelTypeError
    return { matched: false, failed: known ? error.code : 'evaluation_error' }
  }
}
