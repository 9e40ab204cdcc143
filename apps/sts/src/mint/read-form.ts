import { isId, ok, parseScopes, type Reason, type Result, refuse } from '@caracal/core'
import { type Form, singleValues } from '@caracal/service'
import { presentedCredential } from '../client/presented-credential.ts'
import type { TokenCall } from './token-call.ts'
import { GRANT_CLIENT_CREDENTIALS, GRANT_TOKEN_EXCHANGE, type TokenRequest, TYPE_ACCESS_TOKEN, TYPE_JWT } from './token-request.ts'

/** Parameters of a token exchange (RFC 8693 §2.1) that another grant has no use for. */
const EXCHANGE_ONLY = ['subject_token', 'subject_token_type', 'actor_token', 'actor_token_type', 'requested_token_type']

/**
 * Parameters that a standard defines and this endpoint does not honour. Ignoring them would answer with something other than
 * what was asked for (P-004); names that no standard defines are ignored, as RFC 6749 §3.2 demands.
 */
const NOT_HONOURED: ReadonlyMap<string, string> = new Map([
  ['audience', 'name the target with resource'],
  ['authorization_details', 'narrow with scope'],
  ['assertion', 'no grant here takes one'],
  ['auth_req_id', 'no grant here takes one'],
  ['claims', 'mandates have fixed claims'],
  ['code', 'no grant here takes one'],
  ['code_verifier', 'no grant here takes one'],
  ['device_code', 'no grant here takes one'],
  ['dpop_jkt', 'mandates are not bound to keys here'],
  ['may_act', 'it is a claim, not a parameter'],
  ['password', 'no grant here takes one'],
  ['redirect_uri', 'no grant here takes one'],
  ['refresh_token', 'no grant here takes one'],
  ['request', 'request objects are not taken'],
  ['request_uri', 'request objects are not taken'],
  ['requested_actor', 'the actor is the authenticated client'],
  ['requested_subject', 'the subject is that of the subject token'],
  ['username', 'no grant here takes one'],
])

/**
 * RFC 6749 §4.4.2, RFC 8693 §2.1, RFC 8707 §2.2: one form, one value per parameter, one resource per mandate (P-003, P-004).
 * The route row has refused a query string and a body that is larger than 64 KiB.
 */
export function readForm(_desk: unknown, call: TokenCall): Result<{ readonly request: TokenRequest }> {
  const single = singleValues(call.form, ['resource'])
  if (!single.ok) return single
  const values = single.value

  for (const name of call.form.keys()) {
    const instead = NOT_HONOURED.get(name)
    if (instead !== undefined) return refuse('unknown_parameter', `${name} is not supported: ${instead}`)
  }

  const grant = values.get('grant_type')
  if (grant === undefined) return refuse('missing_parameter', 'grant_type')
  if (grant !== GRANT_CLIENT_CREDENTIALS && grant !== GRANT_TOKEN_EXCHANGE) return refuse('unsupported_grant_type')
  const exchanges = grant === GRANT_TOKEN_EXCHANGE
  if (!exchanges) {
    for (const name of EXCHANGE_ONLY) {
      if (call.form.has(name)) return refuse('unknown_parameter', `${name} belongs to a token exchange`)
    }
  }

  const credential = presentedCredential(values, call.authorization)
  if (!credential.ok) return credential
  const resource = readResource(call.form, exchanges)
  if (!resource.ok) return resource
  const scopes = readScopes(values)
  if (!scopes.ok) return scopes
  const extras = readExtras(values)
  if (!extras.ok) return extras
  const exchange = exchanges ? readExchange(values) : ok(undefined)
  if (!exchange.ok) return exchange
  const type = values.get('requested_token_type') ?? TYPE_ACCESS_TOKEN
  if (type !== TYPE_ACCESS_TOKEN && type !== TYPE_JWT) return refuse('unsupported_token_type', 'requested_token_type')

  return ok({
    request: {
      credential: credential.value,
      resource: resource.value,
      scopes: scopes.value,
      ...extras.value,
      issuedTokenType: type,
      exchange: exchange.value,
    },
  })
}

/** An absolute URI without fragment, exactly one: a mandate names one resource. */
function readResource(form: Form, exchanges: boolean): Result<string | undefined> {
  const named = [...new Set((form.get('resource') ?? []).filter((one) => one !== ''))]
  const [resource] = named
  if (resource === undefined) return exchanges ? ok(undefined) : refuse('missing_parameter', 'resource')
  if (named.length > 1) return refuse('invalid_target', 'a mandate names one resource: ask once for each')
  if (resource.length > 2048 || !URL.canParse(resource) || resource.includes('#')) {
    return refuse('invalid_target', 'resource must be an absolute URI without fragment')
  }
  return ok(resource)
}

function readScopes(values: ReadonlyMap<string, string>): Result<TokenRequest['scopes']> {
  const text = values.get('scope')
  if (text === undefined) return ok(undefined)
  const scopes = parseScopes(text)
  if (!scopes.ok) return scopes
  return scopes.value.size === 0 ? refuse('invalid_scope', 'scope names nothing') : scopes
}

type Extras = Pick<TokenRequest, 'session' | 'delegation' | 'approval' | 'ttl' | 'once'>

function readExtras(values: ReadonlyMap<string, string>): Result<Extras> {
  const session = values.get('session')
  if (session !== undefined && !isId('session', session)) return refuse('session_not_usable')
  const delegation = values.get('delegation')
  if (delegation !== undefined && !isId('delegation', delegation)) return refuse('delegation_not_usable')
  if (delegation !== undefined && session === undefined) return refuse('missing_parameter', 'session: a delegation is used by a session')
  const approval = values.get('approval')
  if (approval !== undefined && !isId('approval', approval)) return refuse('invalid_request', 'approval is not an approval id')
  const ttl = values.get('ttl')
  if (ttl !== undefined && !/^[1-9]\d{0,8}$/.test(ttl)) return refuse('invalid_request', 'ttl must be a whole number of seconds above 0')
  const once = values.get('once')
  if (once !== undefined && once !== 'true' && once !== 'false') return refuse('invalid_request', 'once must be true or false')
  return ok({ session, delegation, approval, ttl: ttl === undefined ? undefined : Number(ttl), once: once === 'true' })
}

function readExchange(values: ReadonlyMap<string, string>): Result<TokenRequest['exchange'], Reason> {
  const subjectToken = values.get('subject_token')
  if (subjectToken === undefined) return refuse('missing_parameter', 'subject_token')
  const subjectType = values.get('subject_token_type')
  if (subjectType === undefined) return refuse('missing_parameter', 'subject_token_type')
  if (subjectType !== TYPE_ACCESS_TOKEN && subjectType !== TYPE_JWT) return refuse('unsupported_token_type', 'subject_token_type')
  const actorToken = values.get('actor_token')
  const actorType = values.get('actor_token_type')
  if (actorToken === undefined && actorType !== undefined) return refuse('invalid_request', 'actor_token_type without actor_token')
  if (actorToken !== undefined && actorType === undefined) return refuse('missing_parameter', 'actor_token_type')
  if (actorType !== undefined && actorType !== TYPE_ACCESS_TOKEN && actorType !== TYPE_JWT) {
    return refuse('unsupported_token_type', 'actor_token_type')
  }
  return ok({ subjectToken, actorToken })
}
