import { ok, type Result, refuse } from '@caracal/core'

/** One part of a template: text, exactly one segment, or (last) one or more segments. */
export type TemplateSegment =
  | { readonly kind: 'literal'; readonly text: string }
  | { readonly kind: 'one'; readonly name: string }
  | { readonly kind: 'rest'; readonly name: string }

export type PathTemplate = { readonly source: string; readonly segments: readonly TemplateSegment[] }

const PARAMETER = /^\{([A-Za-z_][A-Za-z0-9_]{0,63})(\+?)\}$/
/** RFC 3986 §3.3 pchar, braces excluded. */
const LITERAL = /^(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})*$/

/**
 * Parses `/repos/{owner}/issues/{n}` or `/files/{path+}`. A trailing slash is part of the template. Refuses with `validation_failed`
 * and the segment that is wrong: also parameters that stand twice, `{name+}` before the end, dot segments, queries.
 */
export function parsePathTemplate(source: string): Result<PathTemplate, 'validation_failed'> {
  if (!source.startsWith('/') || source.length > 2048) return refuse('validation_failed', `a path template begins with a slash: ${source}`)
  const segments: TemplateSegment[] = []
  const names = new Set<string>()
  const parts = source.slice(1).split('/')
  for (const [at, part] of parts.entries()) {
    const parameter = PARAMETER.exec(part)
    if (parameter === null) {
      const text = canonicalSegment(part)
      const emptyInside = part === '' && at < parts.length - 1
      if (!LITERAL.test(part) || /^\.{1,2}$/.test(text) || emptyInside)
        return refuse('validation_failed', `not a path template segment: ${JSON.stringify(part)} in ${source}`)
      segments.push({ kind: 'literal', text })
      continue
    }
    const name = parameter[1] ?? ''
    const rest = parameter[2] === '+'
    if (names.has(name)) return refuse('validation_failed', `{${name}} stands twice in ${source}`)
    if (rest && at < parts.length - 1) return refuse('validation_failed', `{${name}+} must be last in ${source}`)
    names.add(name)
    segments.push({ kind: rest ? 'rest' : 'one', name })
  }
  return ok({ source, segments })
}

/**
 * The spelling in which literals are compared (RFC 3986 §6.2.2): escapes of unreserved characters are decoded, the others
 * get upper-case digits. Separators are never decoded, so the number of segments cannot change.
 */
export function canonicalSegment(raw: string): string {
  if (!raw.includes('%')) return raw
  return raw.replace(/%([0-9A-Fa-f]{2})/g, (spelled: string, hex: string) => {
    const character = String.fromCharCode(Number.parseInt(hex, 16))
    return /[A-Za-z0-9\-._~]/.test(character) ? character : spelled.toUpperCase()
  })
}
