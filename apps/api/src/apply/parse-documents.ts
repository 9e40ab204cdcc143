import { NAME, type PolicyDocument, policyFromNode } from '@caracal/core'
import type { TSchema } from 'typebox'
import { Value } from 'typebox/value'
import { type Document, isMap, isPair, isScalar, LineCounter, parseAllDocuments } from 'yaml'
import { ApplicationDocument, BudgetDocument, ProviderDocument, ResourceDocument, ZoneDocument } from './document-schemas.ts'

export type SourceFile = { readonly file: string; readonly text: string }

/** One thing wrong with the set: where it stands and which field it is. */
export type DocumentProblem = {
  readonly file: string
  readonly line: number
  readonly column: number
  readonly field: string
  readonly message: string
}

/** Where a document begins, for problems that show only when the set is looked at as a whole. */
export type Origin = { readonly file: string; readonly line: number; readonly column: number }

export type ParsedDocument = {
  readonly origin: Origin
  /** Where a field stands (`operations[0].scope`); where the nearest thing around it does, when it is not written. */
  readonly placeOf: (field: string) => Origin
} & (
  | { readonly kind: 'Zone'; readonly body: ZoneDocument }
  | { readonly kind: 'Application'; readonly body: ApplicationDocument }
  | { readonly kind: 'Provider'; readonly body: ProviderDocument }
  | { readonly kind: 'Resource'; readonly body: ResourceDocument }
  | { readonly kind: 'Budget'; readonly body: BudgetDocument }
  | { readonly kind: 'Policy'; readonly zone: string | undefined; readonly body: PolicyDocument; readonly source: string }
)

const SCHEMAS = {
  Zone: ZoneDocument,
  Application: ApplicationDocument,
  Provider: ProviderDocument,
  Resource: ResourceDocument,
  Budget: BudgetDocument,
} as const

export const DOCUMENT_KINDS = [...Object.keys(SCHEMAS), 'Policy']

/**
 * Parses a set of YAML files strictly: unknown and duplicate keys, wrong types and malformed values are problems with file, line
 * and field, all of them at once. A set with any problem has no documents.
 */
export function parseDocuments(files: readonly SourceFile[]): { documents: ParsedDocument[]; problems: DocumentProblem[] } {
  const documents: ParsedDocument[] = []
  const problems: DocumentProblem[] = []
  for (const { file, text } of files) {
    const lines = new LineCounter()
    const parsed = parseAllDocuments(text, { lineCounter: lines, strict: true, uniqueKeys: false, prettyErrors: false, version: '1.2' })
    if ('empty' in parsed) continue
    for (const document of parsed) {
      const reader = new DocumentReader(file, lines, document, problems)
      const found = reader.read(text)
      if (found !== undefined) documents.push(found)
    }
  }
  return problems.length > 0 ? { documents: [], problems } : { documents, problems }
}

class DocumentReader {
  readonly #file: string
  readonly #lines: LineCounter
  readonly #document: Document
  readonly #problems: DocumentProblem[]

  constructor(file: string, lines: LineCounter, document: Document, problems: DocumentProblem[]) {
    this.#file = file
    this.#lines = lines
    this.#document = document
    this.#problems = problems
  }

  read(text: string): ParsedDocument | undefined {
    const faults = [...this.#document.errors, ...this.#document.warnings]
    for (const fault of faults) this.#report(fault.pos[0], '', fault.message)
    if (faults.length > 0) return undefined
    const root = this.#document.contents
    // A separator with nothing behind it is no document.
    if (root === null || (isScalar(root) && root.value === null)) return undefined
    if (!isMap(root)) return this.#report(root.range?.[0] ?? 0, '', 'a document is a mapping with the key kind')
    const kind = root.get('kind')
    if (kind === 'Policy') return this.#readPolicy(text)
    const schema = typeof kind === 'string' && Object.hasOwn(SCHEMAS, kind) ? SCHEMAS[kind as keyof typeof SCHEMAS] : undefined
    if (schema === undefined) return this.#report(this.#offset(['kind']), 'kind', `must be one of ${DOCUMENT_KINDS.join(', ')}`)
    if (!this.#keysAreUnique() || !this.#fits(schema)) return undefined
    return { origin: this.#origin(), placeOf: this.#placeOf, kind, body: this.#document.toJS() } as ParsedDocument
  }

  #readPolicy(text: string): ParsedDocument | undefined {
    const root = this.#document.contents
    if (!isMap(root)) return undefined
    const origin = this.#origin()
    const zone = root.get('zone')
    if (zone !== undefined && (typeof zone !== 'string' || !NAME.test(zone)))
      return this.#report(this.#offset(['zone']), 'zone', 'must be the name of a zone')
    const [start, , end] = root.range ?? [0, 0, text.length]
    root.delete('zone')
    const policy = policyFromNode(root, this.#lines, { file: this.#file })
    if (policy.ok) return { origin, placeOf: this.#placeOf, kind: 'Policy', zone, body: policy.value, source: text.slice(start, end) }
    for (const { line, column, path, message } of policy.problems) {
      this.#problems.push({ file: this.#file, line: line ?? origin.line, column: column ?? origin.column, field: path, message })
    }
    return undefined
  }

  #origin(): Origin {
    const { line, col } = this.#lines.linePos(this.#document.contents?.range?.[0] ?? 0)
    return { file: this.#file, line, column: col }
  }

  readonly #placeOf = (field: string): Origin => {
    const { line, col } = this.#lines.linePos(this.#offset(fieldSegments(field)))
    return { file: this.#file, line, column: col }
  }

  #keysAreUnique(): boolean {
    const before = this.#problems.length
    const walk = (node: unknown, path: string): void => {
      if (!isMap(node)) return
      const seen = new Set<string>()
      for (const pair of node.items) {
        if (!isPair(pair) || !isScalar(pair.key)) continue
        const name = String(pair.key.value)
        if (seen.has(name)) this.#report(pair.key.range?.[0] ?? 0, join(path, name), 'stands more than once')
        seen.add(name)
        walk(pair.value, join(path, name))
      }
    }
    walk(this.#document.contents, '')
    return this.#problems.length === before
  }

  #fits(schema: TSchema): boolean {
    const before = this.#problems.length
    const told = new Set<string>()
    const tell = (segments: readonly (string | number)[], message: string) => {
      const field = segments.reduce<string>(
        (path, segment) => (typeof segment === 'number' ? `${path}[${segment}]` : join(path, segment)),
        '',
      )
      if (told.has(field)) return
      told.add(field)
      this.#report(this.#offset(segments), field, message)
    }
    const errors = Value.Errors(schema, this.#document.toJS())
    for (const error of errors) {
      const segments = pointerSegments(error.instancePath)
      const params = error.params as {
        requiredProperties?: readonly string[]
        additionalProperties?: readonly string[]
        allowedValues?: readonly unknown[]
      }
      if (error.keyword === 'required') for (const name of params.requiredProperties ?? []) tell([...segments, name], 'is missing')
      else if (error.keyword === 'additionalProperties')
        for (const name of params.additionalProperties ?? []) tell([...segments, name], 'unknown key')
      else if (error.keyword === 'boolean')
        continue // The key itself is told by additionalProperties.
      else if (error.keyword === 'enum') tell(segments, `must be one of ${(params.allowedValues ?? []).join(', ')}`)
      else tell(segments, describedAs(schema, error.schemaPath) ?? error.message)
    }
    return this.#problems.length === before
  }

  /** Where the field stands; for one that is missing, where its parent does. */
  #offset(segments: readonly (string | number)[]): number {
    const parent = segments.slice(0, -1)
    const holder = parent.length === 0 ? this.#document.contents : this.#document.getIn(parent, true)
    if (isMap(holder)) {
      const pair = holder.items.find((item) => isScalar(item.key) && item.key.value === segments.at(-1))
      if (pair !== undefined && isScalar(pair.key)) return pair.key.range?.[0] ?? 0
    }
    const node = this.#document.getIn(segments, true) ?? holder
    return (node as { range?: readonly number[] } | null)?.range?.[0] ?? 0
  }

  #report(offset: number, field: string, message: string): undefined {
    const { line, col } = this.#lines.linePos(offset)
    this.#problems.push({ file: this.#file, line, column: col, field, message })
    return undefined
  }
}

function join(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`
}

function fieldSegments(field: string): (string | number)[] {
  return [...field.matchAll(/[^.[\]]+/g)].map(([part]) => (/^\d+$/.test(part) ? Number(part) : part))
}

function pointerSegments(pointer: string): (string | number)[] {
  return pointer
    .split('/')
    .slice(1)
    .map((segment) => segment.replaceAll('~1', '/').replaceAll('~0', '~'))
    .map((segment) => (/^\d+$/.test(segment) ? Number(segment) : segment))
}

/** A schema's own words for what it wants, looked up along the error's path: better than "must match pattern". */
function describedAs(schema: TSchema, schemaPath: string): string | undefined {
  let at: unknown = schema
  let found: string | undefined
  for (const segment of schemaPath.split('/').slice(1)) {
    if (typeof at !== 'object' || at === null) break
    at = (at as Record<string, unknown>)[segment]
    const description = (at as { description?: unknown } | undefined)?.description
    if (typeof description === 'string') found = `must be ${description}`
  }
  return found
}
