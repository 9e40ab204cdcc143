import { ok, type Result, refuse } from '@caracal/core'
import { singleValues } from '@caracal/service'
import { type AuthenticatedClient, authenticateClient } from '../client/authenticate-client.ts'
import { presentedCredential } from '../client/presented-credential.ts'
import type { MintDesk } from '../mint/mint-desk.ts'
import type { TokenCall } from '../mint/token-call.ts'

/** A token that an authenticated client asks about (RFC 7662 §2.1, RFC 7009 §2.1). The hint changes nothing: there is one kind of token. */
export type PresentedToken = { readonly client: AuthenticatedClient; readonly token: string }

/** Reads the form, authenticates the client, and takes the token as it is. */
export async function presentedToken(desk: MintDesk, call: TokenCall): Promise<Result<PresentedToken>> {
  const values = singleValues(call.form)
  if (!values.ok) return values
  const token = values.value.get('token')
  if (token === undefined) return refuse('missing_parameter', 'token')
  const credential = presentedCredential(values.value, call.authorization)
  if (!credential.ok) return credential
  const client = await authenticateClient(desk, credential.value, call.source, call.requestId)
  return client.ok ? ok({ client: client.value, token }) : client
}
