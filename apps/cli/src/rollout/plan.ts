import { createHash } from 'node:crypto'
import { readMigrations, SCHEMA } from '@caracal/postgres'
import { at, type Kubectl, type KubeObject, numberAt, textAt } from './kubectl.ts'

/** What a rollout goes back to, written down before it begins. */
export type RolloutPlan = {
  readonly at: string
  readonly release: string
  /** The revision that runs now and would be gone back to; its chart, images and values. */
  readonly revision: number
  readonly chart: string
  readonly images: Readonly<Record<string, string>>
  readonly valuesSha256: string
  readonly schema: { readonly previousLevel: number | null; readonly newLevel: number; readonly floorAfter: number }
  readonly verdict: 'rollback-ok' | 'roll-forward-only'
  readonly reason: string
  /** When somebody last saw a backup made, and a restore tried. */
  readonly backupAt: string | null
  readonly drillAt: string | null
}

/** Whether the version that runs now can run on the schema that this version's migrations leave. */
export async function schemaVerdict(previousLevel: number | null): Promise<Pick<RolloutPlan, 'schema' | 'verdict' | 'reason'>> {
  const migrations = await readMigrations()
  const floors = migrations
    .filter(({ version, phase }) => phase === 'contract' && (previousLevel === null || version > previousLevel))
    .flatMap(({ sql }) => [...sql.matchAll(/UPDATE\s+schema_floor\s+SET\s+floor\s*=\s*(\d+)/gi)].map(([, floor]) => Number(floor)))
  const floorAfter = Math.max(0, ...floors)
  const schema = { previousLevel, newLevel: SCHEMA.level, floorAfter }
  if (previousLevel === null)
    return { schema, verdict: 'roll-forward-only', reason: 'the version that runs now did not say which schema it works with' }
  if (floorAfter > previousLevel)
    return {
      schema,
      verdict: 'roll-forward-only',
      reason: `the new schema demands level ${floorAfter}, the version that runs now has ${previousLevel}`,
    }
  return { schema, verdict: 'rollback-ok', reason: `the version that runs now works with the new schema (level ${previousLevel})` }
}

/** Name of the ConfigMap that keeps the plan. */
export const planName = (fullname: string) => `${fullname}-rollout-plan`

export function planObject(fullname: string, namespace: string, plan: RolloutPlan): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: planName(fullname), namespace, labels: { 'app.kubernetes.io/part-of': 'caracal' } },
    data: { plan: JSON.stringify(plan) },
  }
}

/** The plan of the namespace; undefined when there is none, or none that can be read. */
export async function readPlan(cluster: Kubectl, fullname: string): Promise<RolloutPlan | undefined> {
  const found = await cluster.get('configmap', planName(fullname))
  const text = textAt(found, 'data', 'plan')
  if (text === '') return undefined
  try {
    const plan: unknown = JSON.parse(text)
    return numberAt(plan, 'revision') > 0 && textAt(plan, 'verdict') !== '' ? (plan as RolloutPlan) : undefined
  } catch {
    return undefined
  }
}

/** The same for the same values, whatever the order of their members. */
export function valuesHash(values: unknown): string {
  return createHash('sha256')
    .update(JSON.stringify(sorted(values)))
    .digest('hex')
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  const members = Object.keys(value).sort()
  return Object.fromEntries(members.map((name) => [name, sorted(at(value, name))]))
}
