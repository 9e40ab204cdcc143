import { ok, type Result, refuse } from '@caracal/core'
import { decodeFormText } from '@caracal/service'

/** RFC 7523 §2.2. */
export const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

/** What a client showed to prove who it is. `clientId` is its claim, not yet a fact. */
export type PresentedCredential =
  | { readonly method: 'client_secret_basic' | 'client_secret_post'; readonly clientId: string; readonly secret: string }
  | { readonly method: 'private_key_jwt'; readonly clientId: string | undefined; readonly assertion: string }

/**
 * The one credential of a request (RFC 6749 §2.3: a client MUST NOT use more than one method).
 * Nothing shown, or something that cannot be read, is `invalid_client`.
 */
export function presentedCredential(
  values: ReadonlyMap<string, string>,
  authorization: string | undefined,
): Result<PresentedCredential, 'invalid_client' | 'invalid_request' | 'missing_parameter'> {
  const clientId = values.get('client_id')
  const secret = values.get('client_secret')
  const assertion = values.get('client_assertion')
  const assertionType = values.get('client_assertion_type')

  const shown = Number(authorization !== undefined) + Number(secret !== undefined) + Number((assertion ?? assertionType) !== undefined)
  if (shown > 1) return refuse('invalid_request', 'more than one client authentication method')

  if (authorization !== undefined) return fromBasic(authorization, clientId)
  if (secret !== undefined) {
    if (clientId === undefined) return refuse('missing_parameter', 'client_id')
    return ok({ method: 'client_secret_post', clientId, secret })
  }
  if (assertion !== undefined || assertionType !== undefined) {
    if (assertion === undefined) return refuse('missing_parameter', 'client_assertion')
    if (assertionType === undefined) return refuse('missing_parameter', 'client_assertion_type')
    if (assertionType !== ASSERTION_TYPE) return refuse('invalid_request', 'client_assertion_type is not supported')
    return ok({ method: 'private_key_jwt', clientId, assertion })
  }
  return refuse('invalid_client')
}

/** RFC 6749 §2.3.1: both halves are form-encoded before they are base64-encoded. */
function fromBasic(authorization: string, clientId: string | undefined): Result<PresentedCredential, 'invalid_client' | 'invalid_request'> {
  const match = /^basic +([a-z0-9+/]{2,2048}={0,2})$/i.exec(authorization)
  const encoded = match?.[1]
  if (encoded === undefined) return refuse('invalid_client')
  const text = Buffer.from(encoded, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  if (colon < 1) return refuse('invalid_client')
  const id = decodeFormText(text.slice(0, colon))
  const secret = decodeFormText(text.slice(colon + 1))
  if (id === undefined || secret === undefined || secret === '') return refuse('invalid_client')
  if (clientId !== undefined && clientId !== id) return refuse('invalid_request', 'client_id differs from the Authorization header')
  return ok({ method: 'client_secret_basic', clientId: id, secret })
}
