import { ok, type Result } from '@caracal/core'
import type { Awaitable } from '@caracal/enforcement'
import { type AuthenticatedClient, authenticateClient } from '../client/authenticate-client.ts'
import type { MintDesk } from './mint-desk.ts'
import type { TokenCall } from './token-call.ts'
import type { TokenRequest } from './token-request.ts'

/** Step 1 of a mint: who asks. From here on a refusal is evidence of the zone. */
export function authenticateApplication(
  desk: MintDesk,
  at: TokenCall & { readonly request: TokenRequest },
): Awaitable<Result<{ readonly client: AuthenticatedClient }>> {
  const client = authenticateClient(desk, at.request.credential, at.source, at.requestId)
  return client instanceof Promise ? client.then((proven) => unlessShed(desk, proven)) : unlessShed(desk, client)
}

function unlessShed(desk: MintDesk, client: Result<AuthenticatedClient>): Result<{ readonly client: AuthenticatedClient }> {
  if (!client.ok) return client
  return desk.shed?.(client.value.zone.snapshot.id) ?? ok({ client: client.value })
}
