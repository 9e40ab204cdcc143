import { createHash } from 'node:crypto'
import { canonicalJson } from '@caracal/core'
import { leafHash } from '@caracal/ledger'

/** A line of a bundle, taken apart. The last one, `end`, is made anew when the lines are put together. */
export type Line = { readonly kind: string; readonly [member: string]: unknown }

export type EventLine = Line & { readonly index: number; readonly leaf: string; readonly event: string }

export function linesOf(bundle: string): Line[] {
  return bundle
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line)
}

export const isEvent = (line: Line): line is EventLine => line.kind === 'event'

/** A file as somebody writes it who knows the format and holds no key: leaf hashes and end line fit what stands there. */
export function sealed(lines: readonly Line[]): string {
  const body = lines
    .filter(({ kind }) => kind !== 'end')
    .map((line) => (isEvent(line) ? { ...line, leaf: Buffer.from(leafHash(Buffer.from(line.event))).toString('base64') } : line))
    .map((line) => `${canonicalJson(line)}\n`)
    .join('')
  const end = { kind: 'end', lines: body.split('\n').length - 1, sha256: createHash('sha256').update(body).digest('hex') }
  return `${body}${canonicalJson(end)}\n`
}

/** A value somewhere in a line or an event, and how to write another in its place. */
export type Field = { readonly path: string; readonly value: unknown; replaced(by: unknown): unknown }

/** Every field of a JSON value, those inside of objects and lists too. */
export function fieldsOf(value: unknown, path = ''): Field[] {
  const own: Field[] = path === '' ? [] : [{ path, value, replaced: (by) => by }]
  if (Array.isArray(value)) {
    const inner = value.flatMap((one, at) => lift(fieldsOf(one, `${path}[${at}]`), (by) => value.with(at, by)))
    return [...own, ...inner]
  }
  if (typeof value !== 'object' || value === null) return own
  const inner = Object.entries(value).flatMap(([name, one]) =>
    lift(fieldsOf(one, path === '' ? name : `${path}.${name}`), (by) => ({ ...value, [name]: by })),
  )
  return [...own, ...inner]
}

function lift(fields: readonly Field[], into: (by: unknown) => unknown): Field[] {
  return fields.map((field) => ({ ...field, replaced: (by) => into(field.replaced(by)) }))
}

/** Another value of the same kind. */
export function altered(value: unknown): unknown {
  if (typeof value === 'string') return value === '' ? 'x' : value.slice(0, -1) + (value.endsWith('0') ? '1' : '0')
  if (typeof value === 'number') return value + 1
  if (typeof value === 'boolean') return !value
  if (Array.isArray(value)) return value.length > 1 ? value.toReversed() : [...value, ...value, 'x']
  if (value === null) return 0
  return { ...(value as object), more: 1 }
}
