import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { LineCounter, parseDocument, stringify } from 'yaml'
import { newId } from '../id.ts'
import { compilePolicies } from './compile.ts'
import { decide } from './decide.ts'
import type { CallOperation, DecisionFacts, DecisionInput } from './decision-input.ts'
import type { PolicyDocument } from './document.ts'
import { parsePolicy } from './parse-policy.ts'

/** One case of a file: what is said differs from `input()`; what `decision` says must be so, the rest is free. */
type Case = {
  readonly title: string
  readonly resource?: string
  readonly scope: string
  readonly application?: string
  readonly labels?: readonly string[]
  readonly zoneLabels?: readonly string[]
  readonly session?: { readonly kind: 'task' | 'service'; readonly labels?: readonly string[]; readonly depth?: number }
  readonly subject?: { readonly issuer: string; readonly claims: Record<string, unknown> }
  readonly delegation?: { readonly depth: number }
  readonly mandate?: Partial<DecisionFacts['mandate']>
  readonly operation?: Partial<CallOperation> & { readonly unreadable?: true }
  readonly peer?: string
  readonly builtIn?: true
  readonly decision: Record<string, unknown>
}

type CorpusFile = { readonly documents: readonly unknown[]; readonly defaults?: Partial<Case>; readonly cases: readonly Case[] }

const folder = new URL('./corpus/', import.meta.url)
const files = readdirSync(folder)
  .filter((name) => name.endsWith('.yaml'))
  .map(
    (name) =>
      [name, parseDocument(readFileSync(new URL(name, folder), 'utf8'), { lineCounter: new LineCounter() }).toJS() as CorpusFile] as const,
  )

function input(given: Case): DecisionInput {
  const facts: DecisionFacts = {
    zone: { id: newId('zone', 0), name: 'zone', labels: given.zoneLabels ?? [] },
    application: { id: newId('application', 0), name: given.application ?? 'agent', labels: given.labels ?? [] },
    resource: { id: newId('resource', 0), name: 'resource', identifier: given.resource ?? 'https://docs.example', kind: 'http' },
    scope: given.scope,
    mandate: { ttl: 300, once: false, senderConstrained: false, ...given.mandate },
    ...(given.session === undefined ? {} : { session: { id: newId('session', 0), labels: [], depth: 1, ...given.session } }),
    ...(given.subject === undefined ? {} : { subject: { id: newId('subject', 0), ...given.subject } }),
    ...(given.delegation === undefined ? {} : { delegation: given.delegation }),
    ...(given.builtIn === undefined ? {} : { builtIn: given.builtIn }),
  }
  if (given.operation === undefined) return { ...facts, phase: 'mint' }
  const { unreadable, ...named } = given.operation
  const operation: CallOperation = {
    method: 'POST',
    path: '/',
    template: '/',
    params: {},
    query: {},
    headers: {},
    tool: '',
    arguments: {},
    body: unreadable === true ? undefined : null,
    ...named,
  }
  return { ...facts, phase: 'call', operation, request: { time: 0, peer: given.peer ?? '192.0.2.1' } }
}

function documentsOf(file: CorpusFile): PolicyDocument[] {
  return file.documents.map((document) => {
    const parsed = parsePolicy(stringify(document))
    if (!parsed.ok) throw new Error(parsed.detail)
    return parsed.value
  })
}

describe.each(files)('[P-034] corpus %s', (_name, file) => {
  const compiled = compilePolicies(documentsOf(file))
  if (!compiled.ok) throw new Error(compiled.detail)
  test.each(file.cases.map((one) => [one.title, one] as const))('%s', (_title, one) => {
    expect(decide(compiled.value, input({ ...file.defaults, ...one }))).toMatchObject(one.decision)
  })
})
