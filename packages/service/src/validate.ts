import type { TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import type { TLocalizedValidationError } from 'typebox/error'
import { Settings } from 'typebox/system'
import { Value } from 'typebox/value'
import type { Violation } from './problem.ts'
import { strict } from './strict-schema.ts'

export type Validated = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly violations: readonly Violation[] }

export type Validate = (value: unknown) => Validated

/** More than this many violations help nobody. */
const MOST = 20

// The default of 8 would hide some of them; this bounds the work for hostile bodies all the same.
Settings.Set({ maxErrors: 64 })

/**
 * A validator of one part of a request: closed objects, all violations at once, values never repeated.
 * Query strings arrive as text and are converted by the schema (`convert`); bodies are taken as they are.
 * `open`: unknown members are let through, for answers of a newer peer.
 */
export function validator(
  schema: TSchema,
  part: Violation['in'],
  options: { readonly convert: boolean; readonly open?: boolean },
): Validate {
  const closed = options.open ? schema : strict(schema)
  const compiled = Compile(closed)
  return (given) => {
    const value = options.convert ? Value.Default(closed, Value.Convert(closed, given)) : given
    if (compiled.Check(value)) return { ok: true, value }
    return { ok: false, violations: violations(compiled.Errors(value), part) }
  }
}

function violations(errors: readonly TLocalizedValidationError[], part: Violation['in']): Violation[] {
  const found = new Map<string, Violation>()
  for (const error of errors) {
    for (const one of spread(error)) {
      const key = `${one.pointer} ${one.detail}`
      if (found.size < MOST && !found.has(key)) found.set(key, { in: part, ...one })
    }
  }
  return [...found.values()]
}

/** An error about members stands at the member, so that a form can show it there. */
function spread(error: TLocalizedValidationError): { pointer: string; detail: string }[] {
  const at = (name: string) => `${error.instancePath}/${escapePointer(name.slice(0, 128))}`
  switch (error.keyword) {
    case 'required':
      return error.params.requiredProperties.map((name) => ({ pointer: at(name), detail: 'is required' }))
    case 'additionalProperties':
      return error.params.additionalProperties.map((name) => ({ pointer: at(name), detail: 'is not known here' }))
    case 'boolean':
      return [{ pointer: error.instancePath, detail: 'is not known here' }]
    case 'enum':
      return [
        {
          pointer: error.instancePath,
          detail: `must be one of ${error.params.allowedValues.map((one) => JSON.stringify(one)).join(', ')}`,
        },
      ]
    case 'const':
      return [{ pointer: error.instancePath, detail: `must be ${JSON.stringify(error.params.allowedValue)}` }]
    default:
      return [{ pointer: error.instancePath, detail: error.message }]
  }
}

/** RFC 6901 §3. */
function escapePointer(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1')
}
