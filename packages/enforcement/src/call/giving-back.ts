import type { Claim } from '@caracal/streams'
import type { CallDependencies, CallFacts, CallVerdict } from './governed-call.ts'
import { endOf, type Start } from './mandate-steps.ts'
import type { Outcome } from './pipeline.ts'
import type { CallBudgets, Charge } from './reserve-budget.ts'

/** A heartbeat comes each second: after this much silence revocations are known from memory. */
const SILENT_SECONDS = 2.5

/**
 * Runs the steps of a call and makes the verdict of what they found. A single-use mandate that they claimed, and what they took of
 * budgets, is given back when one of them refuses or throws, and by the caller when the call does not go out (P-066).
 */
export async function givingBack<Facts extends Pick<CallFacts, 'mandate' | 'decision'>>(
  call: Start['call'],
  dependencies: CallDependencies,
  run: (start: Start) => Promise<Outcome<Facts>>,
): Promise<CallVerdict<Facts>> {
  const now = (dependencies.clock ?? Date.now)()
  const held = new Set<string>()
  const { later } = dependencies
  let wanted: Claim | null = null
  const claim: CallDependencies['claim'] = async (key, owner, ttl) => {
    if (later !== undefined) {
      if (!later.wants(key, owner)) return false
      wanted = { key, owner, ttl }
      return true
    }
    const got = await dependencies.claim(key, owner, ttl)
    if (got) held.add(key)
    return got
  }
  const charges = new Set<Charge>()
  const release = async () => {
    await Promise.all([...charges].map((charge) => charge.release()))
    charges.clear()
    if (wanted !== null) later?.forget(wanted.key, wanted.owner)
    wanted = null
    for (const key of held) await dependencies.release(key, call.requestId)
    held.clear()
  }
  const claimNow = () => {
    const claiming = wanted
    wanted = null
    if (claiming !== null) held.add(claiming.key)
    return claiming
  }
  const lost = () => {
    held.clear()
    return release()
  }

  let allowed = false
  try {
    const outcome = await run({ call, now, with: { ...dependencies, claim, budgets: noting(dependencies.budgets, charges) } })
    if (outcome.passed) {
      allowed = true
      const { so: facts } = outcome
      const expiresAt = endOf(facts.mandate.claims, facts.decision)
      const { state, view } = dependencies
      const spentUnconfirmed = charges.size > 0 && [...charges].some((charge) => charge.unconfirmed === true)
      const degraded = spentUnconfirmed || state.doubted() || (view.provenAgo() ?? 0) > SILENT_SECONDS
      return { decision: 'allow', facts, expiresAt, revocationPosition: view.position(), degraded, claim: claimNow, lost, release }
    }
    const { refusal, at, so: facts } = outcome
    const decision: CallFacts['decision'] | undefined = facts.decision
    return refusal.reason === 'approval_required' && decision?.effect === 'hold'
      ? { decision: 'hold', refusal, at, facts, approval: decision.approval }
      : { decision: 'deny', refusal, at, facts }
  } finally {
    // A claim that cannot be given back burns the mandate: that refuses more, never less.
    if (!allowed) await release().catch(() => {})
  }
}

function noting(budgets: CallBudgets | undefined, charges: Set<Charge>): CallBudgets | undefined {
  if (budgets === undefined) return undefined
  const { required, reserve } = budgets
  return {
    required,
    async reserve(request) {
      const taken = await reserve(request)
      if (taken.ok && taken.value !== null) charges.add(taken.value)
      return taken
    },
  }
}
