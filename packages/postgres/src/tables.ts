import type {
  ApplicationId,
  BudgetHolder,
  BudgetId,
  BudgetPeriod,
  CertificateName,
  CredentialId,
  DelegationId,
  Grant,
  Operation,
  PolicyId,
  PolicySetId,
  PolicySetMember,
  PolicySetVersionId,
  PolicyVersionId,
  ProviderId,
  ProviderMethod,
  PublicJwk,
  RequestId,
  Resource,
  ResourceId,
  RevocationKind,
  Role,
  SessionId,
  StreamName,
  SubjectId,
  TokenId,
  ZoneId,
} from '@caracal/core'
import type { GeneratedAlways } from 'kysely'
import type { Defaulted, DefaultedTimestamp, Json, NullableJson, NullableTimestamp, Timestamp } from './column.ts'
import type { StreamTables } from './stream-tables.ts'

/** Columns of every versioned row. */
type Versioned = { version: Defaulted<number>; created_at: Timestamp; updated_at: Timestamp }
type Archivable = Versioned & { archived_at: NullableTimestamp }

export type SchemaMigrationsTable = {
  version: number
  name: string
  sha256: string
  phase: 'expand' | 'contract'
  app_version: string
  applied_at: Timestamp
  duration_ms: number
}

export type SchemaFloorTable = { single: Defaulted<boolean>; floor: number }

export type SettingsTable = { name: string; value: Json<unknown>; updated_at: Timestamp }

export type ZonesTable = Archivable & {
  id: ZoneId
  name: string
  labels: readonly string[]
  config_version: Defaulted<number>
}

export type ZoneKeysTable = {
  zone: ZoneId
  kind: 'signing' | 'pepper' | 'log'
  kid: string
  state: 'next' | 'current' | 'previous' | 'retired'
  public_jwk: NullableJson<PublicJwk>
  sealed: string
  created_at: Timestamp
  activates_at: Timestamp
  retires_at: NullableTimestamp
}

export type ApplicationsTable = Archivable & { id: ApplicationId; zone: ZoneId; name: string; labels: readonly string[] }

export type ApplicationCredentialsTable = {
  id: CredentialId
  zone: ZoneId
  application: ApplicationId
  kind: 'secret' | 'jwk'
  digest: string | null
  jwk: NullableJson<PublicJwk>
  created_at: Timestamp
  expires_at: NullableTimestamp
}

export type ApplicationKeysTable = {
  id: CredentialId
  zone: ZoneId
  application: ApplicationId
  kind: 'api_key' | 'certificate'
  name: string
  digest: string | null
  certificate: CertificateName | null
  created_at: Timestamp
  expires_at: NullableTimestamp
  revoked_at: NullableTimestamp
}

export type ProvidersTable = Archivable & {
  id: ProviderId
  zone: ZoneId
  name: string
  hosts: readonly string[]
  method: Json<ProviderMethod>
  sealed_secret: string | null
  sealed_version: number | null
  secret_digest: string | null
  expires_at: NullableTimestamp
}

export type ResourcesTable = Archivable & {
  id: ResourceId
  zone: ZoneId
  name: string
  kind: 'http' | 'mcp'
  identifier: string
  upstream: string
  scopes: readonly string[]
  operations: Json<readonly Operation[]>
  provider: ProviderId | null
  mandate_life: number
  once: boolean
  egress_allow: readonly string[]
  encoded_separators: 'refuse' | 'literal'
  max_body_bytes: number
  timeouts: Json<Resource['timeouts']>
}

export type BudgetsTable = Archivable & {
  id: BudgetId
  zone: ZoneId
  name: string
  holder: BudgetHolder
  currency: string | null
  most: string
  span: 'total' | 'calendar' | 'rolling'
  per: BudgetPeriod | null
}

export type BudgetSpansTable = { zone: ZoneId; budget: BudgetId; starts_at: Timestamp; spent: string; reserved: string }

export type BudgetSlicesTable = {
  zone: ZoneId
  budget: BudgetId
  point: string
  amount: string
  turn: number
  expires_at: Timestamp
  lost_at: Timestamp
}

export type ChargesTable = {
  zone: ZoneId
  request: RequestId
  state: 'reserved' | 'expired'
  what: Json<unknown>
  held: Json<unknown>
  amount: string
  currency: string | null
  reserved_at: Timestamp
  expires_at: Timestamp
}

export type UsageTable = {
  zone: ZoneId
  request: RequestId
  application: ApplicationId
  subject: string | null
  session: SessionId | null
  resource: string
  operation: string | null
  amount: string
  currency: string | null
  budgets: readonly BudgetId[]
  late: boolean
  at: Timestamp
  settled_at: Timestamp
}

export type PoliciesTable = Archivable & { id: PolicyId; zone: ZoneId; name: string }

export type PolicyVersionsTable = {
  id: PolicyVersionId
  zone: ZoneId
  policy: PolicyId
  number: number
  source: string
  canonical: string
  sha256: string
  created_at: Timestamp
  created_by: string
}

export type PolicySetsTable = Archivable & { id: PolicySetId; zone: ZoneId; name: string }

export type PolicySetVersionsTable = {
  id: PolicySetVersionId
  zone: ZoneId
  policy_set: PolicySetId
  number: number
  members: Json<readonly PolicySetMember[]>
  sha256: string
  created_at: Timestamp
  created_by: string
}

export type PolicyHeadsTable = {
  zone: ZoneId
  set_version: PolicySetVersionId
  generation: number
  activated_at: Timestamp
  activated_by: string
}

export type PolicyActivationsTable = PolicyHeadsTable & { previous: PolicySetVersionId | null }

export type PolicyReplicasTable = {
  zone: ZoneId
  replica: string
  role: string
  set_version: PolicySetVersionId | null
  config_version: number
  error: string | null
  seen_at: Timestamp
}

export type SessionsTable = Versioned & {
  id: SessionId
  zone: ZoneId
  application: ApplicationId
  kind: 'task' | 'service'
  parent: SessionId | null
  lineage: readonly SessionId[]
  labels: readonly string[]
  subject: SubjectId | null
  state: 'active' | 'suspended' | 'ended'
  held: Defaulted<boolean>
  expires_at: Timestamp
  lease_generation: number | null
  lease_expires_at: NullableTimestamp
  ended_at: NullableTimestamp
}

export type DelegationsTable = Versioned & {
  id: DelegationId
  zone: ZoneId
  from_session: SessionId
  from_application: ApplicationId
  from_lineage: readonly SessionId[]
  to_application: ApplicationId
  to_session: SessionId | null
  parent: DelegationId | null
  lineage: readonly DelegationId[]
  grants: Json<readonly Grant[]>
  hops: number
  state: 'offered' | 'active' | 'revoked'
  expires_at: Timestamp
}

export type RevocationsTable = {
  id: string
  zone: ZoneId
  kind: RevocationKind
  target: string
  at: Timestamp
  reason: string
  revoked_by: string
  lifted_at: NullableTimestamp
  lifted_by: string | null
}

export type AdminTokensTable = {
  id: TokenId
  name: string
  digest: string
  roles: readonly Role[]
  zone: ZoneId | null
  created_at: Timestamp
  created_by: string
  expires_at: Timestamp
  revoked_at: NullableTimestamp
}

export type IdempotencyReceiptsTable = {
  principal: string
  key: string
  request_sha256: string
  status: number | null
  headers: NullableJson<Readonly<Record<string, string>>>
  body: string | null
  created_at: Timestamp
  expires_at: Timestamp
}

export type OutboxTable = {
  id: GeneratedAlways<number>
  stream: StreamName
  aggregate: string
  payload: string
  attempts: Defaulted<number>
  available_at: DefaultedTimestamp
  dead_at: NullableTimestamp
  dead_reason: string | null
  created_at: DefaultedTimestamp
}

export type OutboxUnconfirmedTable = {
  digest: Uint8Array
  stream: StreamName
  aggregate: string
  payload: string
  sent_at: DefaultedTimestamp
}

export type LogHeadsTable = { zone: ZoneId; size: Defaulted<number>; root: Uint8Array; frontier: Uint8Array; updated_at: Timestamp }

export type LogBlocksTable = {
  zone: ZoneId
  first_seq: number
  count: number
  from_time: Timestamp
  to_time: Timestamp
  appended_at: Timestamp
  bucket: number
  ids_from: number
  ids_to: number
  codec: number
  /** Only ever compared in SQL. */
  terms: unknown
  event_ids: Uint8Array
  other_ids: Uint8Array
  data: Uint8Array
}

export type LogTilesTable = { zone: ZoneId; level: number; tile: number; hashes: Uint8Array }

export type LogCheckpointsTable = { zone: ZoneId; size: number; root: Uint8Array; note: string; at: Timestamp }

export type EvidenceProducersTable = { producer: string; confirmed_seq: Defaulted<number>; ahead: Defaulted<string>; last_seen: Timestamp }

/** Every table, as the numbered migrations leave it. */
export type Tables = StreamTables & {
  schema_migrations: SchemaMigrationsTable
  schema_floor: SchemaFloorTable
  settings: SettingsTable
  zones: ZonesTable
  zone_keys: ZoneKeysTable
  applications: ApplicationsTable
  application_credentials: ApplicationCredentialsTable
  application_keys: ApplicationKeysTable
  providers: ProvidersTable
  resources: ResourcesTable
  budgets: BudgetsTable
  budget_spans: BudgetSpansTable
  budget_slices: BudgetSlicesTable
  charges: ChargesTable
  usage: UsageTable
  policies: PoliciesTable
  policy_versions: PolicyVersionsTable
  policy_sets: PolicySetsTable
  policy_set_versions: PolicySetVersionsTable
  policy_heads: PolicyHeadsTable
  policy_activations: PolicyActivationsTable
  policy_replicas: PolicyReplicasTable
  sessions: SessionsTable
  delegations: DelegationsTable
  revocations: RevocationsTable
  admin_tokens: AdminTokensTable
  idempotency_receipts: IdempotencyReceiptsTable
  outbox: OutboxTable
  outbox_unconfirmed: OutboxUnconfirmedTable
  log_heads: LogHeadsTable
  log_blocks: LogBlocksTable
  log_tiles: LogTilesTable
  log_checkpoints: LogCheckpointsTable
  evidence_producers: EvidenceProducersTable
}
