/**
 * The one catalogue of reasons. A reason is stable: clients, policies of retry, alerts and evidence name it.
 * `status`: HTTP status. `oauth`: the RFC 6749 §5.2 / RFC 8693 / RFC 8707 code at OAuth endpoints.
 * `retryAfter`: seconds. `fix`: what the caller can do, where saying so leaks nothing.
 * `docs/reference/errors.md` is generated from here.
 */
export type ReasonEntry = {
  readonly status: number
  readonly title: string
  readonly oauth: string
  readonly retryAfter?: number
  readonly fix?: string
}

const entries = {
  // Form of a request
  invalid_request: { status: 400, title: 'The request is malformed', oauth: 'invalid_request' },
  malformed_json: { status: 400, title: 'The body is not JSON', oauth: 'invalid_request' },
  malformed_path: {
    status: 400,
    title: 'The path has a spelling that is not accepted',
    oauth: 'invalid_request',
    fix: 'Send the path without dot segments, backslashes and bad escapes.',
  },
  unknown_parameter: { status: 400, title: 'A parameter is not supported', oauth: 'invalid_request' },
  duplicate_parameter: { status: 400, title: 'A parameter stands more than once', oauth: 'invalid_request' },
  missing_parameter: { status: 400, title: 'A parameter is missing', oauth: 'invalid_request' },
  validation_failed: { status: 422, title: 'Something in the request cannot be accepted', oauth: 'invalid_request' },
  body_too_large: { status: 413, title: 'The body is larger than allowed', oauth: 'invalid_request' },
  request_timeout: { status: 408, title: 'The request did not arrive in time', oauth: 'invalid_request' },
  headers_too_large: { status: 431, title: 'The headers are larger than allowed', oauth: 'invalid_request' },
  unsupported_media_type: { status: 415, title: 'The content type is not accepted here', oauth: 'invalid_request' },
  method_not_allowed: { status: 405, title: 'The method is not accepted here', oauth: 'invalid_request' },
  not_implemented: { status: 501, title: 'The protocol is not supported', oauth: 'invalid_request' },
  not_found: { status: 404, title: 'There is nothing here', oauth: 'invalid_request' },
  conflict: { status: 409, title: 'It conflicts with what exists', oauth: 'invalid_request' },
  version_moved: {
    status: 412,
    title: 'Somebody changed it in between',
    oauth: 'invalid_request',
    fix: 'Read it again and repeat the change with the new ETag.',
  },
  precondition_required: {
    status: 428,
    title: 'If-Match is required',
    oauth: 'invalid_request',
    fix: 'Send If-Match with the ETag of the version you change.',
  },
  idempotency_key_reused: { status: 422, title: 'The Idempotency-Key was used for another request', oauth: 'invalid_request' },
  idempotency_in_flight: {
    status: 409,
    title: 'The first request with this Idempotency-Key is still running',
    oauth: 'invalid_request',
    retryAfter: 1,
  },
  rate_limited: { status: 429, title: 'Too many requests', oauth: 'slow_down', retryAfter: 1 },
  limit_reached: { status: 429, title: 'A limit of the zone or application is reached', oauth: 'slow_down', retryAfter: 10 },

  // Who is asking
  unauthenticated: {
    status: 401,
    title: 'A credential is required',
    oauth: 'invalid_client',
    fix: 'Send Authorization: Bearer with a valid credential.',
  },
  invalid_client: {
    status: 401,
    title: 'Client authentication failed',
    oauth: 'invalid_client',
    fix: 'Check client_id and the credential; after a rotation use the new one.',
  },
  forbidden: { status: 403, title: 'The credential does not allow this', oauth: 'unauthorized_client' },
  unsupported_grant_type: { status: 400, title: 'The grant type is not supported', oauth: 'unsupported_grant_type' },
  unsupported_response_type: {
    status: 400,
    title: 'No grant here uses the authorization endpoint',
    oauth: 'unsupported_response_type',
    fix: 'Ask the token endpoint, with the client_credentials grant.',
  },
  invalid_grant: { status: 400, title: 'The grant is not valid', oauth: 'invalid_grant' },
  invalid_subject_token: { status: 400, title: 'The subject token is not acceptable', oauth: 'invalid_request' },
  invalid_actor_token: { status: 400, title: 'The actor token is not acceptable', oauth: 'invalid_request' },
  unsupported_token_type: { status: 400, title: 'The token type is not supported', oauth: 'unsupported_token_type' },
  nonce_required: {
    status: 400,
    title: 'The request needs something that makes it one of its kind',
    oauth: 'invalid_request',
    fix: 'Send X-Caracal-Nonce (random, new for each request) and X-Caracal-Timestamp (Unix seconds).',
  },
  timestamp_outside_window: {
    status: 401,
    title: 'The time of the request is too far from the time here',
    oauth: 'invalid_client',
    fix: 'Set the clock right and send X-Caracal-Timestamp with the time at which the request is sent.',
  },
  nonce_replayed: {
    status: 401,
    title: 'The nonce of the request was used before',
    oauth: 'invalid_client',
    fix: 'Send another X-Caracal-Nonce with every request, also when it is repeated.',
  },
  assertion_replayed: { status: 401, title: 'The client assertion was used before', oauth: 'invalid_client' },

  // What is asked for
  invalid_target: { status: 400, title: 'The resource is not known or not allowed', oauth: 'invalid_target' },
  invalid_scope: { status: 400, title: 'A scope is not known or wider than allowed', oauth: 'invalid_scope' },
  scope_exceeds_parent: { status: 400, title: 'A scope is wider than the lineage holds', oauth: 'invalid_scope' },
  session_not_usable: { status: 400, title: 'The session does not exist, has ended or is not yours', oauth: 'invalid_grant' },
  session_suspended: { status: 400, title: 'The session or one above it is suspended', oauth: 'invalid_grant' },
  delegation_not_usable: { status: 400, title: 'The delegation does not exist, has ended or is not yours', oauth: 'invalid_grant' },
  lineage_expired: { status: 400, title: 'Something in the lineage has expired', oauth: 'invalid_grant' },
  lineage_too_deep: { status: 400, title: 'The lineage is deeper than ten', oauth: 'invalid_grant' },
  lineage_revoked: { status: 400, title: 'Something in the lineage is revoked', oauth: 'invalid_grant' },
  lease_lost: { status: 409, title: 'Another generation holds the lease', oauth: 'invalid_grant' },

  // The decision
  no_rule_allows: { status: 403, title: 'No rule allows it', oauth: 'access_denied' },
  denied_by_rule: { status: 403, title: 'A rule denies it', oauth: 'access_denied' },
  condition_failed: { status: 403, title: 'A condition could not be evaluated', oauth: 'access_denied' },
  contradictory_holds: { status: 403, title: 'Rules hold it in ways that contradict each other', oauth: 'access_denied' },
  no_active_policy: { status: 403, title: 'The zone has no active policy', oauth: 'access_denied' },
  approval_required: { status: 403, title: 'A human has to approve it', oauth: 'authorization_pending' },
  sender_constraint_required: { status: 403, title: 'The mandate must be bound to a key', oauth: 'access_denied' },
  operation_not_declared: { status: 403, title: 'The resource does not declare this operation', oauth: 'access_denied' },
  insufficient_scope: { status: 403, title: 'The mandate lacks the scope of this operation', oauth: 'insufficient_scope' },

  // What may be spent
  budget_exceeded: { status: 403, title: 'A budget has no room for it', oauth: 'access_denied' },
  budget_required: { status: 403, title: 'No budget counts it, and one is required', oauth: 'access_denied' },
  budget_currency: { status: 403, title: 'A budget is in another currency than the price', oauth: 'access_denied' },

  // The mandate at the enforcement point
  invalid_token: {
    status: 401,
    title: 'The mandate is not valid',
    oauth: 'invalid_token',
    fix: 'Get a new mandate at the token endpoint.',
  },
  token_expired: { status: 401, title: 'The mandate has expired', oauth: 'invalid_token', fix: 'Get a new mandate at the token endpoint.' },
  token_not_yet_valid: {
    status: 401,
    title: 'The mandate begins in the future',
    oauth: 'invalid_token',
    fix: 'The clocks of the STS and of this replica differ by more than a minute: an operator has to set them right.',
  },
  token_revoked: { status: 401, title: 'The mandate or something it stands on is revoked', oauth: 'invalid_token' },
  token_replayed: {
    status: 401,
    title: 'The single-use mandate was used before',
    oauth: 'invalid_token',
    fix: 'Get a new mandate for every call.',
  },
  wrong_audience: { status: 401, title: 'The mandate is for another resource', oauth: 'invalid_token' },
  resource_unknown: { status: 404, title: 'No such resource', oauth: 'invalid_target' },

  // The way to the upstream
  upstream_not_allowed: {
    status: 403,
    title: 'The upstream address is not allowed',
    oauth: 'access_denied',
    fix: 'An administrator can allow the address range on the Resource (egressAllow) or the host in the upstream allow-list.',
  },
  upstream_unreachable: { status: 502, title: 'The upstream cannot be reached', oauth: 'temporarily_unavailable' },
  upstream_timeout: { status: 504, title: 'The upstream did not answer in time', oauth: 'temporarily_unavailable' },
  upstream_protocol_error: {
    status: 502,
    title: 'The upstream answered with something that is not HTTP',
    oauth: 'temporarily_unavailable',
  },
  upstream_leaked_credential: { status: 502, title: 'The upstream tried to hand out the injected credential', oauth: 'access_denied' },
  credential_unavailable: { status: 502, title: 'There is no usable credential for the upstream', oauth: 'temporarily_unavailable' },
  client_gone: { status: 499, title: 'The client went away', oauth: 'invalid_request' },

  // Safety that is missing for the moment
  revocation_view_stale: {
    status: 503,
    title: 'It cannot be shown that nothing was revoked',
    oauth: 'temporarily_unavailable',
    retryAfter: 1,
  },
  evidence_unavailable: { status: 503, title: 'Evidence cannot be made durable', oauth: 'temporarily_unavailable', retryAfter: 1 },
  policy_unavailable: { status: 503, title: 'The active policy could not be loaded', oauth: 'temporarily_unavailable', retryAfter: 1 },
  keys_unavailable: { status: 503, title: 'The zone has no usable signing key', oauth: 'temporarily_unavailable', retryAfter: 1 },
  store_unavailable: { status: 503, title: 'A store does not answer', oauth: 'temporarily_unavailable', retryAfter: 1 },
  store_full: { status: 503, title: 'A store has no room for a change', oauth: 'temporarily_unavailable', retryAfter: 5 },
  store_read_only: { status: 503, title: 'A store takes no changes', oauth: 'temporarily_unavailable', retryAfter: 5 },
  sts_unavailable: { status: 503, title: 'The STS does not answer', oauth: 'temporarily_unavailable', retryAfter: 1 },
  schema_incompatible: {
    status: 503,
    title: 'The database schema is not one this version runs with',
    oauth: 'temporarily_unavailable',
    retryAfter: 5,
  },
  starting: { status: 503, title: 'The service is starting', oauth: 'temporarily_unavailable', retryAfter: 1 },
  draining: { status: 503, title: 'The service is stopping', oauth: 'temporarily_unavailable', retryAfter: 1 },
  overloaded: { status: 503, title: 'The service sheds load', oauth: 'temporarily_unavailable', retryAfter: 1 },
  internal_error: { status: 500, title: 'Something broke here', oauth: 'server_error' },
} as const satisfies Record<string, ReasonEntry>

export type Reason = keyof typeof entries

export const REASONS: Readonly<Record<Reason, ReasonEntry>> = entries

export function isReason(text: string): text is Reason {
  return Object.hasOwn(entries, text)
}
