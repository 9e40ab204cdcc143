import type { ApplicationId, ResourceId, ZoneId } from '../id.ts'
import { DEFAULT_MANDATE_LIFE } from '../time.ts'
import type { CompiledPolicies } from './compile.ts'
import { type Decision, decide } from './decide.ts'

/** What is asked about: every application of a zone against every scope of every resource. */
export type WhoCanQuestion = {
  readonly zone: { readonly id: ZoneId; readonly name: string; readonly labels: readonly string[] }
  readonly applications: readonly { readonly id: ApplicationId; readonly name: string; readonly labels: readonly string[] }[]
  readonly resources: readonly {
    readonly id: ResourceId
    readonly name: string
    readonly identifier: string
    readonly kind: 'http' | 'mcp'
    readonly scopes: readonly string[]
  }[]
}

/** What an application can have at mint. `depends`: only the call decides. */
export type Access = 'allow' | 'depends' | 'hold' | 'deny'

export type WhoCanEntry = {
  readonly application: string
  readonly resource: string
  readonly scope: string
  readonly access: Access
  readonly rules: readonly string[]
}

/**
 * Who can do what, as the production engine decides it at mint for an application that acts for itself, without session
 * or delegation. Rules for subjects or sessions do not show; conditions on them see the empty values.
 */
export function whoCan(policies: CompiledPolicies | null, question: WhoCanQuestion): readonly WhoCanEntry[] {
  const { zone } = question
  const mandate = { ttl: DEFAULT_MANDATE_LIFE, once: false, senderConstrained: false }
  return question.applications.flatMap((application) =>
    question.resources.flatMap((resource) =>
      resource.scopes.map((scope) => {
        const decision = decide(policies, { phase: 'mint', zone, application, resource, scope, mandate })
        return { application: application.name, resource: resource.identifier, scope, access: accessOf(decision), rules: decision.rules }
      }),
    ),
  )
}

function accessOf(decision: Decision): Access {
  return decision.effect === 'allow' && decision.deferred ? 'depends' : decision.effect
}

export type AccessChange = {
  readonly application: string
  readonly resource: string
  readonly scope: string
  readonly before: Access
  readonly after: Access
  /** More can happen without a human than before. */
  readonly wider: boolean
  readonly words: string
}

const WIDTH = { deny: 0, hold: 1, depends: 2, allow: 3 } as const
const WORDS = { deny: 'is denied', hold: 'waits for approval', depends: 'is decided per call', allow: 'is allowed' } as const

/** What changes between two answers, in words; wider changes first. An entry that stands in one only counts as denied in the other. */
export function diffWhoCan(before: readonly WhoCanEntry[], after: readonly WhoCanEntry[]): readonly AccessChange[] {
  const key = ({ application, resource, scope }: WhoCanEntry) => JSON.stringify([application, resource, scope])
  const [old, fresh] = [new Map(before.map((entry) => [key(entry), entry])), new Map(after.map((entry) => [key(entry), entry]))]
  const changes: AccessChange[] = []
  for (const [at, entry] of new Map([...old, ...fresh])) {
    const [was, is] = [old.get(at)?.access ?? 'deny', fresh.get(at)?.access ?? 'deny']
    if (was === is) continue
    const { application, resource, scope } = entry
    const words = `${application}: ${scope} at ${resource} ${WORDS[is]} (before: ${WORDS[was]})`
    changes.push({ application, resource, scope, before: was, after: is, wider: WIDTH[is] > WIDTH[was], words })
  }
  return changes.sort((a, b) => Number(b.wider) - Number(a.wider) || (a.words < b.words ? -1 : 1))
}
