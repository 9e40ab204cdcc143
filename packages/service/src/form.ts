import { ok, type Result, refuse } from '@caracal/core'

/** A parsed `application/x-www-form-urlencoded` body: every value of every name, in order of appearance. */
export type Form = ReadonlyMap<string, readonly string[]>

/** What a row with a form body declares; see `form()`. */
export type FormBody = { readonly form: true; readonly maxBytes: number }

/** Largest form (P-004). */
export const MAX_FORM_BYTES = 65_536

/** The row takes a form; the handler receives it with repetitions intact, as `body`. */
export function form(): FormBody {
  return { form: true, maxBytes: MAX_FORM_BYTES }
}

export function isFormBody(body: unknown): body is FormBody {
  return typeof body === 'object' && body !== null && 'form' in body && body.form === true
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Strict: bad escapes and bytes that are not UTF-8 refuse the whole. A name without `=` has the empty value (WHATWG URL §5.1). */
export function parseForm(bytes: Uint8Array): Result<Form, 'invalid_request'> {
  const fields = new Map<string, string[]>()
  let text: string
  try {
    text = utf8.decode(bytes)
  } catch {
    return refuse('invalid_request', 'the form is not UTF-8')
  }
  for (const pair of text.split('&')) {
    if (pair === '') continue
    const equals = pair.indexOf('=')
    const name = decodeFormText(equals === -1 ? pair : pair.slice(0, equals))
    const value = decodeFormText(equals === -1 ? '' : pair.slice(equals + 1))
    if (name === undefined || value === undefined) return refuse('invalid_request', 'the form has a bad escape')
    const held = fields.get(name)
    if (held === undefined) fields.set(name, [value])
    else held.push(value)
  }
  return ok(fields)
}

/** Text of a form without its escapes, which most of it has none of. */
export function decodeFormText(text: string): string | undefined {
  if (!text.includes('%')) return text.includes('+') ? text.replaceAll('+', ' ') : text
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    return undefined
  }
}

/**
 * The form as one value per name. A name that stands twice and is not in `repeatable` is refused by name (P-004).
 * An empty value counts as absent (RFC 6749 §3.2).
 */
export function singleValues(fields: Form, repeatable: readonly string[] = []): Result<ReadonlyMap<string, string>, 'duplicate_parameter'> {
  const single = new Map<string, string>()
  for (const [name, values] of fields) {
    if (values.length > 1 && !repeatable.includes(name)) return refuse('duplicate_parameter', `${name.slice(0, 64)} stands more than once`)
    const value = values[0]
    if (value !== undefined && value !== '') single.set(name, value)
  }
  return ok(single)
}
