import {
  type Event,
  formatDuration,
  isId,
  type PolicyDocument,
  type PolicyRule,
  policyFromJson,
  REASONS,
  type RequestId,
  type ZoneId,
} from '@caracal/core'
import { findPolicySetVersion, findPolicyVersions, type Queryable, searchEntries } from '@caracal/postgres'
import { remedyOf } from './remedy.ts'

export type Explanation = {
  readonly request_id: string
  readonly summary: string
  readonly events: readonly Pick<Event, 'id' | 'time' | 'type' | 'decision' | 'reason'>[]
  readonly rules: readonly { readonly rule: string; readonly policy: string; readonly effect: string; readonly text: string }[]
  readonly remedy: string | null
}

/** One request has few events; more than this is not one request. */
const MOST_EVENTS = 200

/**
 * What one request asked, what was decided, by which rules as they stood in the set version that decided, and what one would have to
 * change. Undefined when the ledger holds nothing of it (yet).
 */
export async function explainRequest(db: Queryable, zone: ZoneId, request: RequestId): Promise<Explanation | undefined> {
  const found = await searchEntries(db, zone, { requestId: request }, { limit: MOST_EVENTS })
  const events = found.items.map((entry) => JSON.parse(entry.event) as Event).reverse()
  const main = events.find((event) => event.decision !== undefined) ?? events.find((event) => event.reason !== undefined) ?? events[0]
  if (main === undefined) return undefined
  const shown = events.map(({ id, time, type, decision, reason }) => ({
    id,
    time,
    type,
    ...(decision === undefined ? {} : { decision }),
    ...(reason === undefined ? {} : { reason }),
  }))
  const rules = await rulesOf(db, zone, main)
  return {
    request_id: request,
    summary: summaryOf(main),
    events: shown,
    rules,
    remedy: main.reason === undefined ? null : remedyOf(main, rules),
  }
}

function summaryOf(event: Event): string {
  const { actor, operation, resource, decision, reason, scopes, type, target } = event
  const who = actor?.application ?? actor?.admin ?? actor?.source ?? 'somebody'
  const what = [operation?.method, operation?.path].filter(Boolean).join(' ')
  const asked = [
    type.startsWith('mandate.') ? `asked for ${(scopes ?? []).join(' ') || 'a mandate'}` : what === '' ? type : what,
    ...(resource === undefined ? [] : [`at ${resource}`]),
    ...(target === undefined ? [] : [`on ${target.kind} ${target.name ?? target.id}`]),
  ].join(' ')
  const verdict = decision === 'allow' ? 'allowed' : decision === 'hold' ? 'held for approval' : reason === undefined ? 'done' : 'refused'
  return `${who}: ${asked}: ${verdict}${reason === undefined ? '' : ` (${reason}: ${REASONS[reason].title})`}`
}

/** The rules that decided, in the words they had in that set version. */
async function rulesOf(db: Queryable, zone: ZoneId, event: Event): Promise<Explanation['rules']> {
  const { policy } = event
  if (policy === undefined || policy.rules.length === 0 || !isId('policySetVersion', policy.set_version)) return []
  const set = await findPolicySetVersion(db, zone, policy.set_version)
  const versions = await findPolicyVersions(
    db,
    zone,
    (set?.members ?? []).map((member) => member.version),
  )
  const documents = new Map<string, PolicyDocument>()
  for (const version of versions) {
    const parsed = policyFromJson(JSON.parse(version.canonical))
    if (parsed.ok) documents.set(parsed.value.name, parsed.value)
  }
  return policy.rules.flatMap((named) => {
    const at = named.lastIndexOf('/')
    const [policyName, ruleName] = [named.slice(0, at), named.slice(at + 1)]
    const rule = documents.get(policyName)?.rules.find((one) => one.id === ruleName)
    return rule === undefined ? [] : [{ rule: ruleName, policy: policyName, effect: rule.effect, text: ruleInWords(rule) }]
  })
}

/** A rule as one sentence. */
export function ruleInWords(rule: PolicyRule): string {
  const { effect, scopes, on, when, limits, approval } = rule
  const { any, applications, labels, sessions, subjects } = rule.for
  const whom = [
    ...(any === true ? ['everybody'] : []),
    ...(applications === undefined ? [] : [`applications ${applications.join(', ')}`]),
    ...(labels === undefined ? [] : [`labels ${labels.join(', ')}`]),
    ...(sessions === undefined ? [] : [`sessions ${sessions.join(', ')}`]),
    ...(subjects === undefined ? [] : [`subjects of ${subjects.map(({ issuer }) => issuer).join(', ')}`]),
  ].join(' and ')
  return [
    `${effect} ${scopes.join(', ')} on ${on.join(', ')} for ${whom}`,
    ...(when === undefined ? [] : [`when ${when}`]),
    ...(limits?.maxTtl === undefined ? [] : [`for at most ${formatDuration(limits.maxTtl)}`]),
    ...(approval === undefined ? [] : [`approved by ${approval.approvers.join(', ')}`]),
  ].join(', ')
}
