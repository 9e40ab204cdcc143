import { type ASTNode, TypeError as CelTypeError, EvaluationError, ParseError } from '@marcbachmann/cel-js'
import type { Activation } from './activation.ts'
import { CONDITION_LIMITS, type ConditionContext, conditionEnvironment } from './condition-environment.ts'
import { inspectCondition } from './condition-rules.ts'
import { directCondition, type KnownParts } from './direct-condition.ts'
import type { Read } from './direct-fields.ts'

/** What is wrong with a condition; `offset` counts UTF-16 units from its start. */
export type ConditionProblem = { readonly offset: number; readonly message: string }

/** `failed` names what went wrong, without any value of the request. */
export type ConditionOutcome = { readonly matched: boolean; readonly failed?: string }

export type Condition = {
  /** Paths of `operation` and `request` that it reads, e.g. `operation.body`; `operation.*` when a whole variable is passed on. */
  readonly callReads: readonly string[]
  /** Variables it reads. */
  readonly variables: ReadonlySet<string>
  /** Field paths it reads, two members deep, e.g. `session.labels`. */
  readonly fields: ReadonlySet<string>
  /** The condition as closures; what they leave open, the evaluator of the library decides. See `evaluateCondition`. */
  readonly direct: Read
  readonly library: (context: ConditionContext) => unknown
}

export type CompiledCondition =
  | { readonly ok: true; readonly condition: Condition }
  | { readonly ok: false; readonly problems: readonly ConditionProblem[] }

const MATCHED: ConditionOutcome = { matched: true }
const UNMATCHED: ConditionOutcome = { matched: false }

/**
 * Parses, type-checks and bounds a CEL expression (P-027). Everything that can be known without a request is an error
 * here: syntax, unknown names, types, size, functions that are not offered, cost. What stands in `known` already is shared.
 */
export function compileCondition(source: string, known: KnownParts = new Map()): CompiledCondition {
  if (Buffer.byteLength(source) > CONDITION_LIMITS.bytes) return problem(0, `a condition has at most ${CONDITION_LIMITS.bytes} bytes`)
  try {
    const run = conditionEnvironment.parse(source)
    const inspection = inspectCondition(run.ast as ASTNode)
    if (inspection.problems.length > 0) return { ok: false, problems: inspection.problems }
    const checked = run.check()
    if (checked.error !== undefined) return problem(checked.error.range?.start ?? 0, checked.error.summary)
    if (checked.type !== 'bool' && checked.type !== 'dyn') return problem(0, `a condition is true or false, this one is ${checked.type}`)
    return { ok: true, condition: { ...inspection.reads, direct: directCondition(run.ast as ASTNode, known), library: run } }
  } catch (error) {
    if (error instanceof ParseError || error instanceof CelTypeError) return problem(error.range?.start ?? 0, error.summary)
    throw error
  }
}

/** What the condition says of one request. Most are answered directly; every failure is the library's to name. */
export function evaluateCondition({ direct, library }: Condition, activation: Activation): ConditionOutcome {
  const answer = answerDirectly(direct, activation)
  if (answer === true) return MATCHED
  if (answer === false) return UNMATCHED
  return evaluateByLibrary(library, activation.library)
}

/** What throws here throws in the library as well, which is asked next. */
function answerDirectly(direct: Read, activation: Activation): unknown {
  try {
    return direct(activation)
  } catch {
    return undefined
  }
}

function evaluateByLibrary(run: (context: ConditionContext) => unknown, context: ConditionContext): ConditionOutcome {
  try {
    const value = run(context)
    if (value === true) return MATCHED
    if (value === false) return UNMATCHED
    return { matched: false, failed: 'not_bool' }
  } catch (error) {
    // Whatever the evaluator throws, the condition failed: nothing of it may become a permission.
    return { matched: false, failed: error instanceof EvaluationError || error instanceof CelTypeError ? error.code : 'evaluation_error' }
  }
}

function problem(offset: number, message: string): CompiledCondition {
  return { ok: false, problems: [{ offset, message }] }
}
