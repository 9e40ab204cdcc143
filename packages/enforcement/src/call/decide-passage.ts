import type { CallDependencies, CallFacts, GovernedCall } from './governed-call.ts'
import { passage } from './passage.ts'
import type { Outcome } from './pipeline.ts'

/** Who stands at the door of a resource, before anything is known of what they want there. */
export type PassageFacts = Pick<CallFacts, 'call' | 'now' | 'mandate' | 'zone' | 'resource' | 'application' | 'cutBy'>

/**
 * Whether a caller may speak the protocol of a resource at all: messages that do nothing there by themselves (handshake, lists, pings).
 * A single-use mandate is not used up by them. What they show has to be narrowed by `couldCall`.
 */
export function decidePassage(call: GovernedCall, dependencies: CallDependencies): Promise<Outcome<PassageFacts>> {
  return passage.run({ call, now: (dependencies.clock ?? Date.now)(), with: dependencies })
}
