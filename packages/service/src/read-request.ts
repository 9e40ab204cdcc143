import type { IncomingHttpHeaders } from 'node:http'
import { ok, type Refusal, type Result, refuse } from '@caracal/core'
import { isFormBody, MAX_FORM_BYTES, parseForm } from './form.ts'
import { SEALED_TYPE } from './internal-call/signature.ts'
import { parseJsonBody } from './json-body.ts'
import type { Violation } from './problem.ts'
import type { RouteRow } from './route.ts'
import type { Validate } from './validate.ts'

/** Largest JSON body (P-121). */
export const MAX_BODY_BYTES = 1_048_576

/** 415 before the body is read. A body on a row that takes none is only let in when it is JSON, and then it must be `{}`. */
export function checkMediaType(row: RouteRow, request: { readonly headers: IncomingHttpHeaders }): Result<void> {
  const coding = request.headers['content-encoding']?.trim().toLowerCase()
  if (coding !== undefined && coding !== '' && coding !== 'identity')
    return refuse('unsupported_media_type', 'the body must not be encoded')
  const given = request.headers['content-type']
  if (given === undefined) {
    const brings = request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length'] ?? 0) > 0
    return brings ? refuse('unsupported_media_type', 'Content-Type is missing') : ok(undefined)
  }
  const wanted = isFormBody(row.body) ? 'application/x-www-form-urlencoded' : row.sealed ? SEALED_TYPE : 'application/json'
  if (given === wanted) return ok(undefined)
  const [type = '', ...parameters] = given.split(';').map((part) => part.trim().toLowerCase())
  const charset = parameters.find((one) => one.startsWith('charset='))
  if (type !== wanted) return refuse('unsupported_media_type', `Content-Type must be ${wanted}`)
  if (charset !== undefined && !/^charset="?utf-?8"?$/.test(charset)) return refuse('unsupported_media_type', 'the charset must be UTF-8')
  return ok(undefined)
}

/** A query string that the row does not declare is an error, not noise. */
export function readQuery(given: unknown, check: Validate | undefined): Result<unknown> {
  if (check === undefined) {
    const [name] = Object.keys(given as object)
    return name === undefined ? ok(undefined) : refuse('unknown_parameter', `${name.slice(0, 64)} is not known here`)
  }
  const checked = check(given)
  return checked.ok ? ok(checked.value) : invalid(checked.violations)
}

/** The body as the row wants it: a form, JSON of its schema, or nothing. */
export function readBody(row: RouteRow, bytes: Uint8Array, check: Validate | undefined): Result<unknown> {
  if (isFormBody(row.body)) return bytes.length > MAX_FORM_BYTES ? refuse('body_too_large') : parseForm(bytes)
  if (bytes.length === 0) {
    if (check === undefined) return ok(undefined)
    const empty = check(undefined)
    return empty.ok ? ok(undefined) : refuse('malformed_json', 'a JSON body is expected')
  }
  const parsed = parseJsonBody(bytes)
  if (!parsed.ok) return parsed
  if (check === undefined) {
    const empty = typeof parsed.value === 'object' && parsed.value !== null && Object.keys(parsed.value).length === 0
    return empty ? ok(undefined) : refuse('invalid_request', 'no body is expected here')
  }
  const checked = check(parsed.value)
  return checked.ok ? ok(checked.value) : invalid(checked.violations)
}

function invalid(errors: readonly Violation[]): Refusal {
  return refuse('validation_failed', undefined, { errors })
}
