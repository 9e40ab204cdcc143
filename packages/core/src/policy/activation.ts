import { ConditionContext } from './condition-environment.ts'
import type { CallOperation, DecisionInput } from './decision-input.ts'
import { isReadable, isReadableOnce } from './readable.ts'

/** Stands where nothing has been looked at yet. */
const UNSEEN: unique symbol = Symbol('unseen')

/**
 * What the conditions of one decision share. Values that are readable from end to end are handed on as they came; any other is
 * `undefined` here, and the evaluator of the library says what reading it means. Nothing is looked at before a condition asks.
 */
export class Activation {
  readonly input: DecisionInput
  /** The element at which the outer macro stands, and the one inside it. */
  outer: unknown = undefined
  inner: unknown = undefined
  #body: unknown = UNSEEN
  #arguments: unknown = UNSEEN
  #claims: unknown = UNSEEN
  #params: unknown = UNSEEN
  #query: unknown = UNSEEN
  #headers: unknown = UNSEEN
  #library: ConditionContext | undefined = undefined

  constructor(input: DecisionInput) {
    this.input = input
  }

  /** The same for the library's evaluator. */
  get library(): ConditionContext {
    this.#library ??= new ConditionContext(this.input)
    return this.#library
  }

  get operation(): CallOperation | undefined {
    return this.input.phase === 'call' ? this.input.operation : undefined
  }

  get body(): unknown {
    if (this.#body === UNSEEN) this.#body = whole(this.operation?.body)
    return this.#body
  }

  get arguments(): unknown {
    if (this.#arguments === UNSEEN) this.#arguments = whole(this.operation?.arguments)
    return this.#arguments
  }

  get claims(): unknown {
    if (this.#claims === UNSEEN) this.#claims = whole(this.input.subject?.claims ?? NONE)
    return this.#claims
  }

  get params(): unknown {
    if (this.#params === UNSEEN) this.#params = single(this.operation?.params)
    return this.#params
  }

  get query(): unknown {
    if (this.#query === UNSEEN) this.#query = single(this.operation?.query)
    return this.#query
  }

  get headers(): unknown {
    if (this.#headers === UNSEEN) this.#headers = single(this.operation?.headers)
    return this.#headers
  }
}

const NONE: Readonly<Record<string, unknown>> = Object.freeze({})

function whole(value: unknown): unknown {
  return isReadable(value) ? value : undefined
}

function single(values: CallOperation['query'] | undefined): unknown {
  return values !== undefined && isReadableOnce(values) ? values : undefined
}
