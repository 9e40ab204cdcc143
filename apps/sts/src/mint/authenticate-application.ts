import { ok, type Result } from '@caracal/core'
import { type AuthenticatedClient, authenticateClient } from '../client/authenticate-client.ts'
import type { MintDesk } from './mint-desk.ts'
import type { TokenCall } from './token-call.ts'
import type { TokenRequest } from './token-request.ts'

/** Step 1 of a mint: who asks. From here on a refusal is evidence of the zone. */
export async function authenticateApplication(
  desk: MintDesk,
  at: TokenCall & { readonly request: TokenRequest },
): Promise<Result<{ readonly client: AuthenticatedClient }>> {
  const client = await authenticateClient(desk, at.request.credential, at.source, at.requestId)
  if (!client.ok) return client
  return desk.shed?.(client.value.zone.snapshot.id) ?? ok({ client: client.value })
}
