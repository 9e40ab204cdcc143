import { checkAudience, checkKind, checkLineage, type ResourceStart, resolveResource } from './decide-call.ts'
import type { CallDependencies, CallFacts, GovernedCall } from './governed-call.ts'
import { bindSender, findApplication, limitRate, requireConfiguration, requireFreshView, verifyMandate } from './mandate-steps.ts'
import { type Outcome, pipeline } from './pipeline.ts'

/** Who stands at the door of a resource, before anything is known of what they want there. */
export type PassageFacts = Pick<CallFacts, 'call' | 'now' | 'mandate' | 'zone' | 'resource' | 'application' | 'cutBy'>

/** As for a call, up to where its operation begins. */
const steps = pipeline<ResourceStart>()
  .step(requireConfiguration)
  .step(verifyMandate)
  .step(bindSender)
  .step(resolveResource)
  .step(checkAudience)
  .step(checkKind)
  .step(findApplication)
  .step(checkLineage)
  .step(requireFreshView)
  .step(limitRate)

/**
 * Whether a caller may speak the protocol of a resource at all: messages that do nothing there by themselves (handshake, lists, pings).
 * A single-use mandate is not used up by them. What they show has to be narrowed by `couldCall`.
 */
export function decidePassage(call: GovernedCall, dependencies: CallDependencies): Promise<Outcome<PassageFacts>> {
  return steps.run({ call, now: (dependencies.clock ?? Date.now)(), with: dependencies })
}
