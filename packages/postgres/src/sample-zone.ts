import {
  type Application,
  type ApplicationId,
  newId,
  RESOURCE_DEFAULTS,
  type Resource,
  type Result,
  type Session,
  type SessionId,
  type Zone,
} from '@caracal/core'
import { createApplication } from './applications.ts'
import type { Queryable } from './database.ts'
import { createResource, type ResourceFields } from './resources.ts'
import { insertSession } from './sessions-together.ts'
import { createZone } from './zones.ts'

/** A fixed moment for tests. */
export const NOW = Date.UTC(2026, 0, 2, 3, 4, 5, 678)

let made = 0

/** The value, or a failure that names the reason. */
export function established<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(`refused: ${result.reason} ${result.detail ?? ''}`)
  return result.value
}

export async function sampleZone(db: Queryable): Promise<Zone> {
  made += 1
  return established(await createZone(db, { id: newId('zone'), name: `zone-${made}`, labels: [] }, NOW))
}

export async function sampleApplication(db: Queryable, zone: Zone): Promise<Application> {
  made += 1
  return established(await createApplication(db, { id: newId('application'), zone: zone.id, name: `agent-${made}`, labels: [] }, NOW))
}

export function sampleResourceFields(fields: Partial<ResourceFields> = {}): ResourceFields {
  made += 1
  return {
    ...RESOURCE_DEFAULTS,
    name: `resource-${made}`,
    kind: 'http',
    identifier: `https://resource-${made}.example`,
    upstream: 'http://127.0.0.1:1',
    scopes: ['read'],
    operations: [],
    provider: null,
    egressAllow: [],
    ...fields,
  }
}

export async function sampleResource(db: Queryable, zone: Zone): Promise<Resource> {
  return established(await createResource(db, { ...sampleResourceFields(), id: newId('resource'), zone: zone.id }, NOW))
}

export async function sampleSession(db: Queryable, zone: Zone, application: ApplicationId, parent?: Session): Promise<Session> {
  const id: SessionId = newId('session')
  const session = {
    id,
    zone: zone.id,
    application,
    kind: 'task' as const,
    parent: parent?.id ?? null,
    lineage: [...(parent?.lineage ?? []), id],
    labels: ['sample'],
    subject: null,
    expiresAt: NOW + 3_600_000,
    lease: null,
  }
  return await insertSession(db, session, NOW)
}
