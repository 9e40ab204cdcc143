export { type AddressClass, type Cidr, classifyAddress, isAddressAllowed, parseCidr } from './address-class.ts'
export { createAdminAuthenticator, type DeploymentToken } from './admin-authenticator.ts'
export { type Answer, answer, noContent, raw } from './answer.ts'
export { type Authenticator, bearerToken, firstOf, type Presented } from './authenticator.ts'
export { answerBrokenRequest, MAX_HEADER_FIELDS, mayAnswer } from './broken-request.ts'
export { etag, ifMatch, ifNoneMatch } from './conditional.ts'
export { certificatesIn, trustAuthorities } from './configuration/certificates.ts'
export { loadSettings, serviceSettings } from './configuration/common-settings.ts'
export {
  type Configuration,
  ConfigurationError,
  type ConfigurationProblem,
  defineConfiguration,
  type Environment,
  type Mode,
  type SettingDescription,
  type Values,
  validNow,
} from './configuration/define-configuration.ts'
export { evidenceProblems, evidenceSettings } from './configuration/evidence-settings.ts'
export { type FileFollower, type FollowFilesOptions, followFiles } from './configuration/follow-files.ts'
export { formatDuration, setting } from './configuration/kinds.ts'
export { secretsOf } from './configuration/living-values.ts'
export { placeholder } from './configuration/placeholder.ts'
export type { Rotating, Setting } from './configuration/setting.ts'
export { demandStoreAddress, storeAddressProblems } from './configuration/store-address.ts'
export { databaseSettings, streamsSettings } from './configuration/store-settings.ts'
export { COMPONENTS, type ComponentName, METRICS_PORT, OPTIONAL_SERVICES, SERVICE_NAMES } from './deploy-contract.ts'
export {
  createEgressGuard,
  EgressError,
  type EgressGuard,
  type EgressOptions,
  type EgressRefusal,
  type EgressRules,
  type Resolve,
} from './egress-guard.ts'
export { createFailureThrottle, type FailureThrottle } from './failure-throttle.ts'
export { decodeFormText, type Form, form, parseForm, singleValues } from './form.ts'
export { gatherMetrics, mergeMetrics, type OtherMetrics, type RoleMetrics } from './gathered-metrics.ts'
export { gracefulStop, type StopHook, type StopPlan, type StopReport } from './graceful-stop.ts'
export type { IdempotencyBegin, IdempotencyClaim, IdempotencyStore, KeptAnswer } from './idempotency.ts'
export { infrastructureReason } from './infrastructure-error.ts'
export { type CallOptions, createInternalClient, type InternalClient } from './internal-call/client.ts'
export { createInternalVerifier, type InternalVerifier } from './internal-call/verifier.ts'
export { parseJsonBody } from './json-body.ts'
export { type CursorBinding, type Cursors, createCursors, LIST_QUERY, ListOf, listReply } from './list.ts'
export { type LoadShedding, shedLoad } from './load-shedding.ts'
export { createLogger, type Logger, type LoggerOptions, type LogLevel } from './logger.ts'
export { createMetrics, labelled, type Metrics, observeConnections } from './metrics.ts'
export {
  type Address,
  addressOf,
  answerProbe,
  listen,
  type MetricsListener,
  mayScrape,
  type PlainAnswer,
  startMetricsListener,
} from './metrics-listener.ts'
export { oauthError } from './oauth-error.ts'
export { observeDatabase } from './observe-database.ts'
export { observeFreshness } from './observe-freshness.ts'
export { observeOutbox } from './observe-outbox.ts'
export { observeSpool } from './observe-spool.ts'
export { openApi, operationId } from './openapi.ts'
export { type Check, createProbes, type Finding, type Health, type Probes } from './probes.ts'
export { problem, problemType, type RefusalContext, type Violation, type WireRefusal } from './problem.ts'
export { RateBuckets, type RateBucketsOptions } from './rate-buckets.ts'
export { createRateLimiter, type RateClass, type RateLimiter } from './rate-limit.ts'
export { RELEASE } from './release.ts'
export { revocationPropagation } from './revocation-propagation.ts'
export { type Method, Problem, pathParameters, type Replies, type RouteInput, type RouteRequest, type RouteRow, route } from './route.ts'
export { demandSchema, SchemaTooNew, SchemaTooOld } from './schema-gate.ts'
export { SERVICE_PATHS, type VersionInfo } from './service-routes.ts'
export { createSourceOf, parseTrustedProxy, sourceGroup } from './source-address.ts'
export { type StartedJob, startJobs } from './start-jobs.ts'
export { type ConnectionLimits, type RunningService, type ServiceOptions, startService } from './start-service.ts'
export { SteadyClock } from './steady-clock.ts'
export { type StoreWatch, watchStore } from './store-watch.ts'
export { databaseNeeds, type OnStop, ownDatabase, ownFiles, ownStreams, schemaCheck, writesCheck } from './stores.ts'
export { formatTraceparent, parseTraceparent, startServerSpan, type TraceContext } from './trace.ts'
export { type Needed, type RoleListeners, waitFor } from './waiting-room.ts'
export { watchTasks } from './watch-tasks.ts'
export {
  type AdminPrincipal,
  type ApplicationPrincipal,
  anyone,
  application,
  type CustomPrincipal,
  custom,
  holdsRole,
  type InternalPrincipal,
  internal,
  type Principal,
  principalKey,
  role,
  roleInAnyZone,
  type Who,
} from './who.ts'
