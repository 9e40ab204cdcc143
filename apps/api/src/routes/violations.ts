import { type Refusal, refuse } from '@caracal/core'
import type { Violation } from '@caracal/service'
import type { Fault } from '../apply/check-provider.ts'

/** Faults of a body as every row names them: JSON pointers (P-126). */
export function refuseBody(faults: readonly Fault[]): Refusal<'validation_failed'> {
  const errors = faults.map(({ field, message }): Violation => ({ in: 'body', pointer: pointerTo(field), detail: message }))
  return refuse('validation_failed', undefined, { errors })
}

/** `operations[0].path` as RFC 6901 says it. */
function pointerTo(field: string): string {
  return `/${field.replaceAll(/\[(\d+)\]/g, '.$1').replaceAll('.', '/')}`
}
