export { type CallRates, callRates } from './call-rates.ts'
export { AUTH_MODES, type AuthConfiguration, type AuthMode, authProblems, authSettings } from './callers/auth-settings.ts'
export { type Callers, openCallers } from './callers/open-callers.ts'
export { ChargeClient } from './charges/charge-client.ts'
export { type ChargedAnswer, chargeAnswered, chargeUnanswered, headerIn } from './charges/settle-charge.ts'
export { CredentialCache, type UpstreamCredential } from './credential/credential-cache.ts'
export { type Injected, injectCredential, type UpstreamRequest } from './credential/inject-credential.ts'
export { presentedMandate } from './credential/present-mandate.ts'
export { type EnforcementMetrics, enforcementMetrics } from './enforcement-metrics.ts'
export { type EnforcementConfiguration, enforcementProblems, enforcementSettings } from './enforcement-settings.ts'
export { type CallRequest, decisionEvent, type Established, type Judged, outcomeEvent, refusedLater } from './evidence/call-evidence.ts'
export { noteEarlyRefusals } from './evidence/early-refusals.ts'
export { type Collected, collect } from './exchange/collect.ts'
export { type ForwardInput, forward, type Outcome, type RunningExchange } from './exchange/forward.ts'
export { LeakScan, SCANNED_BYTES } from './exchange/leak-scan.ts'
export { lingerThenClose } from './exchange/linger.ts'
export { hasBody, UploadBody, UploadError, type UploadFault } from './exchange/upload-body.ts'
export { addedHeaders } from './headers/added-headers.ts'
export {
  headersForClient,
  headersForUpstream,
  isReservedForInjection,
  type RawHeaders,
  type ResponsePlace,
  trailersForClient,
} from './headers/header-hygiene.ts'
export { shownHeaders } from './headers/shown-headers.ts'
export { answerRefusal, type CallServerOptions, createCallServer, type Handle, MAX_HEADER_BYTES } from './listener/call-server.ts'
export { clientCertificateOf, forgetCertificateOf } from './listener/client-certificate.ts'
export { jsonAnswer, type MoreRoutes, ownRoutes } from './listener/own-routes.ts'
export { checkDeclaredLength, checkForm, FORWARDED_METHODS } from './listener/request-form.ts'
export { type LiveCall, LiveCalls } from './live-calls.ts'
export { type EnforcementPoint, type EnforcementRole, type EnforcementShared, openEnforcementPoint } from './open-enforcement-point.ts'
export { type Listening, runEnforcementPoint } from './run-enforcement-point.ts'
export { CircuitBreaker } from './upstream/circuit-breaker.ts'
export { type EgressAnswer, type EgressCall, egressCall } from './upstream/egress-call.ts'
export { upstreamFault } from './upstream/upstream-error.ts'
export { type Lease, type Upstream, UpstreamPools, upstreamOf } from './upstream/upstream-pools.ts'
