import { NAME } from '../entity/zone.ts'
import { isPattern } from '../pattern.ts'
import { isScope } from '../scope.ts'
import { MAX_MANDATE_LIFE, type Seconds } from '../time.ts'
import { compileCondition } from './condition.ts'
import type { PolicyDocument, PolicyRule, RuleApproval, RuleEffect, RuleLimits, RuleSubject } from './document.ts'
import { parseDuration } from './duration.ts'
import type { MapFields, NodeReader, Place } from './node-reader.ts'

/** `authored`: YAML as people write it. `stored`: the canonical JSON of a version, durations in seconds, effect as a member. */
export type PolicyForm = 'authored' | 'stored'

const EFFECTS = ['allow', 'hold', 'deny'] as const
const SESSION_KINDS = ['task', 'service', 'none'] as const
const MAX_RULES = 1000
const MAX_LIST = 256
const LABEL = /^[^\s*\p{Cc}]{1,128}$/u
const APPROVER = /^[a-z]+:[^\s\p{Cc}]{1,256}$/u

/** Approvals wait between ten seconds and a day. */
const APPROVAL_TTL = { least: 10, most: 86_400 }
const APPROVAL_DEFAULTS = { approvers: ['role:approver'], ttl: 900, distinctFromRequester: true } as const

/** The one strict reader of policies: write, activation and load all come through here (P-026). Problems are left in `reader`. */
export function readPolicy(reader: NodeReader, root: Place, form: PolicyForm): PolicyDocument | undefined {
  const fields = reader.map(root, ['kind', 'name', 'rules'])
  if (fields === undefined) return undefined
  if (fields.kind !== undefined && reader.string(fields.kind) !== 'Policy') reader.report(fields.kind, 'must be Policy')
  const name = fields.name === undefined ? undefined : readName(reader, fields.name)
  const seen = new Set<string>()
  const rules = fields.rules === undefined ? undefined : reader.each(fields.rules, MAX_RULES, (rule) => readRule(reader, rule, form, seen))
  return name === undefined || rules === undefined || reader.problems.length > 0 ? undefined : { kind: 'Policy', name, rules }
}

function readName(reader: NodeReader, place: Place): string | undefined {
  const name = reader.string(place)
  if (name === undefined || NAME.test(name)) return name
  return reader.report(place, 'must be lower-case letters, digits and inner hyphens, at most 63')
}

function readRule(reader: NodeReader, place: Place, form: PolicyForm, seen: Set<string>): PolicyRule | undefined {
  const shared = ['when', 'limits', 'approval']
  const fields =
    form === 'authored'
      ? reader.map(place, ['id', 'on', 'for'], [...EFFECTS, ...shared])
      : reader.map(place, ['id', 'effect', 'scopes', 'on', 'for'], shared)
  if (fields === undefined) return undefined
  const id = fields.id === undefined ? undefined : readName(reader, fields.id)
  if (id !== undefined && fields.id !== undefined) {
    if (seen.has(id)) reader.report(fields.id, `another rule has the id ${id}`)
    seen.add(id)
  }
  const effect = form === 'authored' ? authoredEffect(reader, place, fields) : storedEffect(reader, fields)
  const scopesAt = form === 'authored' ? effect && fields[effect] : fields.scopes
  const scopes = scopesAt && reader.each(scopesAt, MAX_LIST, (scope) => readPattern(reader, scope, isScope, 'a scope'))
  const on =
    fields.on && reader.each(fields.on, MAX_LIST, (resource) => readPattern(reader, resource, isIdentifier, 'a resource identifier'))
  const subject = fields.for && readSubject(reader, fields.for)
  const when = fields.when && readCondition(reader, fields.when)
  const limits = fields.limits && readLimits(reader, fields.limits, form, effect)
  const approval = readApproval(reader, place, fields.approval, form, effect)
  if (id === undefined || effect === undefined || scopes === undefined || on === undefined || subject === undefined) return undefined
  return {
    id,
    effect,
    scopes,
    on,
    for: subject,
    ...(when === undefined ? {} : { when }),
    ...(limits === undefined ? {} : { limits }),
    ...(approval === undefined ? {} : { approval }),
  }
}

function authoredEffect(reader: NodeReader, place: Place, fields: MapFields): RuleEffect | undefined {
  const given = EFFECTS.filter((effect) => fields[effect] !== undefined)
  if (given.length === 1) return given[0]
  return reader.report(place, `needs exactly one of allow, hold, deny${given.length > 1 ? `, has ${given.join(' and ')}` : ''}`)
}

function storedEffect(reader: NodeReader, fields: MapFields): RuleEffect | undefined {
  return fields.effect && oneOf(reader, fields.effect, EFFECTS)
}

function oneOf<T extends string>(reader: NodeReader, place: Place, choices: readonly T[]): T | undefined {
  const text = reader.string(place)
  if (text === undefined) return undefined
  return choices.find((choice) => choice === text) ?? reader.report(place, `must be one of ${choices.join(', ')}`)
}

function readPattern(reader: NodeReader, place: Place, isLiteral: (text: string) => boolean, what: string): string | undefined {
  const text = reader.string(place)
  if (text === undefined) return undefined
  if (!isPattern(text)) return reader.report(place, `must be ${what}, or a prefix of one that ends in *`)
  const literal = text.endsWith('*') ? text.slice(0, -1) : text
  if ((literal === '' && text === '*') || isLiteral(literal)) return text
  return reader.report(place, `is not ${what}`)
}

/** RFC 3986 §4.3 in outline: a scheme, then no space, control, quote or fragment. Resources hold the full check. */
function isIdentifier(text: string): boolean {
  return /^[a-z][a-z0-9+.-]*:[^\s\p{Cc}"<>\\^`{|}#]*$/u.test(text)
}

function readSubject(reader: NodeReader, place: Place): RuleSubject | undefined {
  const fields = reader.map(place, [], ['any', 'applications', 'labels', 'sessions', 'subjects'])
  if (fields === undefined) return undefined
  const given = Object.keys(fields)
  if (given.length === 0) return reader.report(place, 'must say whom: any, applications, labels, sessions or subjects')
  if (fields.any !== undefined) {
    if (reader.boolean(fields.any) === false) return reader.report(fields.any, 'must be true, or not stand')
    return given.length === 1 ? { any: true } : reader.report(place, 'any stands alone')
  }
  const names = (at: Place | undefined, what: string) =>
    at && reader.each(at, MAX_LIST, (element) => readPattern(reader, element, (text) => LABEL.test(text), what))
  const applications = names(fields.applications, 'an application name')
  const labels = names(fields.labels, 'a label')
  const sessions = fields.sessions && reader.each(fields.sessions, 3, (kind) => oneOf(reader, kind, SESSION_KINDS))
  const subjects = fields.subjects && reader.each(fields.subjects, MAX_LIST, (subject) => readIssuerAndClaims(reader, subject))
  return {
    ...(applications === undefined ? {} : { applications }),
    ...(labels === undefined ? {} : { labels }),
    ...(sessions === undefined ? {} : { sessions }),
    ...(subjects === undefined ? {} : { subjects }),
  }
}

function readIssuerAndClaims(reader: NodeReader, place: Place): NonNullable<RuleSubject['subjects']>[number] | undefined {
  const fields = reader.map(place, ['issuer'], ['claims'])
  const issuer = fields?.issuer && reader.string(fields.issuer)
  const claims = fields?.claims && reader.strings(fields.claims)
  if (issuer === undefined) return undefined
  return { issuer, ...(claims === undefined ? {} : { claims }) }
}

function readCondition(reader: NodeReader, place: Place): string | undefined {
  const source = reader.string(place)
  if (source === undefined) return undefined
  const compiled = compileCondition(source)
  if (compiled.ok) return source
  for (const { offset, message } of compiled.problems) {
    // In a plain scalar on one line the text is the source, so the exact column is known.
    const exact = place.node !== null && place.node !== undefined && 'type' in place.node && place.node.type === 'PLAIN'
    if (exact && !source.includes('\n')) reader.report(place, message, offset)
    else reader.report(place, offset === 0 ? message : `${message} (character ${offset + 1})`)
  }
  return undefined
}

function readSeconds(reader: NodeReader, place: Place, form: PolicyForm): Seconds | undefined {
  if (form === 'stored') {
    const value = reader.scalar(place)
    return Number.isSafeInteger(value) && Number(value) > 0 ? Number(value) : reader.report(place, 'must be a whole number of seconds')
  }
  const value = reader.scalar(place)
  const seconds = typeof value === 'string' ? parseDuration(value) : null
  return seconds ?? reader.report(place, 'must be a duration such as 300s, 15m or 1h')
}

function readLimits(reader: NodeReader, place: Place, form: PolicyForm, effect: RuleEffect | undefined): RuleLimits | undefined {
  if (effect === 'deny') return reader.report(place, 'a deny rule has no limits')
  const fields = reader.map(place, [], ['maxTtl', 'senderConstrained', 'once'])
  if (fields === undefined) return undefined
  if (Object.keys(fields).length === 0) return reader.report(place, 'must not be empty')
  const maxTtl = fields.maxTtl && readSeconds(reader, fields.maxTtl, form)
  if (maxTtl !== undefined && maxTtl > MAX_MANDATE_LIFE && fields.maxTtl !== undefined) {
    return reader.report(fields.maxTtl, `no mandate lives longer than ${MAX_MANDATE_LIFE}s`)
  }
  const flag = (at: Place | undefined) => {
    if (at === undefined) return undefined
    const value = reader.boolean(at)
    return value === false ? reader.report(at, 'must be true, or not stand') : value
  }
  const senderConstrained = flag(fields.senderConstrained)
  const once = flag(fields.once)
  return {
    ...(maxTtl === undefined ? {} : { maxTtl }),
    ...(senderConstrained === undefined ? {} : { senderConstrained }),
    ...(once === undefined ? {} : { once }),
  }
}

function readApproval(
  reader: NodeReader,
  rule: Place,
  place: Place | undefined,
  form: PolicyForm,
  effect: RuleEffect | undefined,
): RuleApproval | undefined {
  if (place === undefined) return effect === 'hold' ? reader.report(rule, 'a hold rule needs approval') : undefined
  if (effect !== undefined && effect !== 'hold') return reader.report(place, `only a hold rule has approval, this one is ${effect}`)
  const fields = reader.map(place, ['tier'], ['approvers', 'ttl', 'distinctFromRequester'])
  if (fields === undefined) return undefined
  const tier = fields.tier && readName(reader, fields.tier)
  const approvers = fields.approvers
    ? reader.each(fields.approvers, MAX_LIST, (one) => readApprover(reader, one))
    : APPROVAL_DEFAULTS.approvers
  const ttl = fields.ttl ? readSeconds(reader, fields.ttl, form) : APPROVAL_DEFAULTS.ttl
  if (ttl !== undefined && fields.ttl !== undefined && (ttl < APPROVAL_TTL.least || ttl > APPROVAL_TTL.most)) {
    reader.report(fields.ttl, `must lie between ${APPROVAL_TTL.least}s and ${APPROVAL_TTL.most}s`)
  }
  const distinctFromRequester = fields.distinctFromRequester
    ? reader.boolean(fields.distinctFromRequester)
    : APPROVAL_DEFAULTS.distinctFromRequester
  if (tier === undefined || approvers === undefined || ttl === undefined || distinctFromRequester === undefined) return undefined
  return { tier, approvers, ttl, distinctFromRequester }
}

function readApprover(reader: NodeReader, place: Place): string | undefined {
  const text = reader.string(place)
  if (text === undefined || APPROVER.test(text)) return text
  return reader.report(place, 'must name a kind and a value, such as role:approver')
}
