import type { Result } from '@caracal/core'
import { type Awaitable, pipeline } from '@caracal/enforcement'
import { authenticateApplication } from './authenticate-application.ts'
import { decideMint } from './decide-mint.ts'
import { drawUpClaims } from './draw-up-claims.ts'
import { loadLineage } from './load-lineage.ts'
import type { MintDesk } from './mint-desk.ts'
import { narrowScopes } from './narrow-scopes.ts'
import { readForm } from './read-form.ts'
import { recordEvidence } from './record-evidence.ts'
import { releaseApproval } from './release-approval.ts'
import { resolveResource } from './resolve-resource.ts'
import { setLifetime } from './set-lifetime.ts'
import { demandSigner, signMandate } from './sign-mandate.ts'
import type { TokenCall } from './token-call.ts'
import { verifySubject } from './verify-subject.ts'

/**
 * How a mandate comes to be (2-model "Mint", RFC 6749 §4.4, RFC 8693). Each step either adds what it established or refuses with a
 * reason; nothing is signed before its evidence is durable.
 */
export function mintWith(desk: MintDesk) {
  const at = atDesk(desk)
  return pipeline<TokenCall>()
    .step(at(readForm))
    .step(at(authenticateApplication))
    .step(at(demandSigner))
    .step(at(verifySubject))
    .step(at(loadLineage))
    .step(at(resolveResource))
    .step(at(narrowScopes))
    .step(at(decideMint))
    .step(at(releaseApproval))
    .step(at(setLifetime))
    .step(at(drawUpClaims))
    .step(at(recordEvidence))
    .step(at(signMandate))
}

/** What a mint came to. */
export type Minted = Awaited<ReturnType<ReturnType<typeof mintWith>['run']>>

/** What is established when every step passed. */
export type MintDone = Extract<Minted, { passed: true }>['so']

/** Gives a step its desk and keeps its name, by which a refusal says where it came from. */
function atDesk(desk: MintDesk) {
  return <In, Add extends object>(step: (desk: MintDesk, so: In) => Awaitable<Result<Add>>) => {
    const seated = (so: In) => step(desk, so)
    return Object.defineProperty(seated, 'name', { value: step.name })
  }
}
