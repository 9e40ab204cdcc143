import { Environment } from '@marcbachmann/cel-js'
import type { CallOperation, CallRequest, DecisionFacts, DecisionInput } from './decision-input.ts'
import { readable, singleValues, Unreadable } from './readable.ts'

/**
 * The variables of a condition and their fields, in CEL types. The reference page is generated from here.
 * `operation` and `request` exist in phase `call` only: a condition that reads them is deferred at mint.
 */
export const CONDITION_VARIABLES = {
  zone: { id: 'string', name: 'string', labels: 'list<string>' },
  application: { id: 'string', name: 'string', labels: 'list<string>' },
  subject: { id: 'string', issuer: 'string', claims: 'map<string, dyn>' },
  session: { id: 'string', kind: 'string', labels: 'list<string>', depth: 'int' },
  delegation: { depth: 'int' },
  resource: { id: 'string', name: 'string', identifier: 'string', kind: 'string' },
  scope: 'string',
  mandate: { ttl: 'int', once: 'bool', senderConstrained: 'bool' },
  operation: {
    method: 'string',
    path: 'string',
    template: 'string',
    params: 'map<string, string>',
    query: 'map<string, string>',
    headers: 'map<string, string>',
    body: 'dyn',
    tool: 'string',
    arguments: 'dyn',
  },
  request: { time: 'google.protobuf.Timestamp', peer: 'string' },
} as const

export type ConditionVariable = keyof typeof CONDITION_VARIABLES

/** Most an expression may be made of (P-027). */
export const CONDITION_LIMITS = { bytes: 4096, nodes: 512, depth: 32, listElements: 128, mapEntries: 32, arguments: 4 } as const

// The evaluator tells types apart by constructor, so every variable is a class of its own. Fields are read on demand:
// a body is walked only for a condition that asks for it, and only once.
class Zone {
  readonly #facts: DecisionFacts
  #labels: unknown
  constructor(facts: DecisionFacts) {
    this.#facts = facts
  }
  get id() {
    return this.#facts.zone.id
  }
  get name() {
    return this.#facts.zone.name
  }
  get labels() {
    this.#labels ??= readable(this.#facts.zone.labels)
    return this.#labels
  }
}

class Application {
  readonly #facts: DecisionFacts
  #labels: unknown
  constructor(facts: DecisionFacts) {
    this.#facts = facts
  }
  get id() {
    return this.#facts.application.id
  }
  get name() {
    return this.#facts.application.name
  }
  get labels() {
    this.#labels ??= readable(this.#facts.application.labels)
    return this.#labels
  }
}

class Subject {
  readonly #facts: DecisionFacts
  #claims: unknown
  constructor(facts: DecisionFacts) {
    this.#facts = facts
  }
  get id() {
    return this.#facts.subject?.id ?? ''
  }
  get issuer() {
    return this.#facts.subject?.issuer ?? ''
  }
  get claims() {
    this.#claims ??= readable(this.#facts.subject?.claims ?? {})
    return this.#claims
  }
}

class Session {
  readonly #facts: DecisionFacts
  #labels: unknown
  constructor(facts: DecisionFacts) {
    this.#facts = facts
  }
  get id() {
    return this.#facts.session?.id ?? ''
  }
  get kind() {
    return this.#facts.session?.kind ?? 'none'
  }
  get labels() {
    this.#labels ??= readable(this.#facts.session?.labels ?? [])
    return this.#labels
  }
  get depth() {
    return BigInt(this.#facts.session?.depth ?? 0)
  }
}

class Delegation {
  readonly depth: bigint
  constructor(facts: DecisionFacts) {
    this.depth = BigInt(facts.delegation?.depth ?? 0)
  }
}

class Resource {
  readonly #facts: DecisionFacts
  constructor(facts: DecisionFacts) {
    this.#facts = facts
  }
  get id() {
    return this.#facts.resource.id
  }
  get name() {
    return this.#facts.resource.name
  }
  get identifier() {
    return this.#facts.resource.identifier
  }
  get kind() {
    return this.#facts.resource.kind
  }
}

class Mandate {
  readonly #facts: DecisionFacts
  constructor(facts: DecisionFacts) {
    this.#facts = facts
  }
  get ttl() {
    return BigInt(Math.floor(this.#facts.mandate.ttl))
  }
  get once() {
    return this.#facts.mandate.once
  }
  get senderConstrained() {
    return this.#facts.mandate.senderConstrained
  }
}

class Operation {
  readonly #operation: CallOperation
  #body: unknown
  #arguments: unknown
  #path: unknown
  #params: unknown
  #query: unknown
  #headers: unknown
  constructor(operation: CallOperation) {
    this.#operation = operation
  }
  get method() {
    return this.#operation.method
  }
  get path() {
    this.#path ??= readable(this.#operation.path)
    return this.#path
  }
  get template() {
    return this.#operation.template
  }
  get params() {
    this.#params ??= singleValues(this.#operation.params)
    return this.#params
  }
  get query() {
    this.#query ??= singleValues(this.#operation.query)
    return this.#query
  }
  get headers() {
    this.#headers ??= singleValues(this.#operation.headers)
    return this.#headers
  }
  get body() {
    this.#body ??= this.#operation.body === undefined ? new Unreadable('no JSON') : readable(this.#operation.body)
    return this.#body
  }
  get tool() {
    return readable(this.#operation.tool)
  }
  get arguments() {
    this.#arguments ??= this.#operation.arguments === undefined ? new Unreadable('no JSON') : readable(this.#operation.arguments)
    return this.#arguments
  }
}

class Request {
  readonly #request: CallRequest
  constructor(request: CallRequest) {
    this.#request = request
  }
  get time() {
    return new Date(this.#request.time)
  }
  get peer() {
    return this.#request.peer
  }
}

/** What one decision offers to its conditions; each variable is made when the first condition reads it. */
export class ConditionContext {
  readonly #input: DecisionInput
  #made: Partial<Record<ConditionVariable, object>> = {}
  constructor(input: DecisionInput) {
    this.#input = input
  }
  #once<T extends object>(name: ConditionVariable, make: () => T): object {
    this.#made[name] ??= make()
    return this.#made[name]
  }
  get zone() {
    return this.#once('zone', () => new Zone(this.#input))
  }
  get application() {
    return this.#once('application', () => new Application(this.#input))
  }
  get subject() {
    return this.#once('subject', () => new Subject(this.#input))
  }
  get session() {
    return this.#once('session', () => new Session(this.#input))
  }
  get delegation() {
    return this.#once('delegation', () => new Delegation(this.#input))
  }
  get resource() {
    return this.#once('resource', () => new Resource(this.#input))
  }
  get scope() {
    return this.#input.scope
  }
  get mandate() {
    return this.#once('mandate', () => new Mandate(this.#input))
  }
  get operation() {
    const input = this.#input
    return input.phase === 'call' ? this.#once('operation', () => new Operation(input.operation)) : undefined
  }
  get request() {
    const input = this.#input
    return input.phase === 'call' ? this.#once('request', () => new Request(input.request)) : undefined
  }
}

const CLASSES = { zone: Zone, application: Application, subject: Subject, session: Session, delegation: Delegation } as const
const MORE_CLASSES = { resource: Resource, mandate: Mandate, operation: Operation, request: Request } as const

/** The one environment in which every condition is parsed, checked and run. */
export const conditionEnvironment: Environment = buildEnvironment()

function buildEnvironment(): Environment {
  const environment = new Environment({
    limits: {
      maxAstNodes: CONDITION_LIMITS.nodes,
      maxDepth: CONDITION_LIMITS.depth,
      maxListElements: CONDITION_LIMITS.listElements,
      maxMapEntries: CONDITION_LIMITS.mapEntries,
      maxCallArguments: CONDITION_LIMITS.arguments,
    },
  })
  for (const [name, ctor] of Object.entries({ ...CLASSES, ...MORE_CLASSES })) {
    const fields = CONDITION_VARIABLES[name as keyof typeof CLASSES | keyof typeof MORE_CLASSES]
    const type = `caracal.${name}`
    environment.registerType(type, { ctor, fields: { ...fields } })
    environment.registerVariable(name, type)
  }
  environment.registerVariable('scope', CONDITION_VARIABLES.scope)
  return environment
}
