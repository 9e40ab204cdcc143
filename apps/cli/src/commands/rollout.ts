import { CliError } from '../cli-error.ts'
import { colour, type Output } from '../output.ts'
import { checkCluster, lookTwice, type Phase } from '../rollout/check-cluster.ts'
import { fullnameOf } from '../rollout/fullname.ts'
import { helmRevisions } from '../rollout/helm-release.ts'
import { type Kubectl, kubectl } from '../rollout/kubectl.ts'
import { planObject, type RolloutPlan, readPlan, schemaVerdict, valuesHash } from '../rollout/plan.ts'
import { replicasByUrl } from '../rollout/roles-by-url.ts'
import { type Decision, decide, EXIT, linesOf, type Row } from '../rollout/row.ts'
import { serviceGates, serviceStops } from '../rollout/service-gates.ts'
import { podsOf, workloadsOf } from '../rollout/workloads.ts'
import { readSecretFile } from '../secret-file.ts'
import type { CommandContext } from './command.ts'

export type CheckOptions = {
  readonly namespace: string
  readonly release: string
  readonly phase: string
  readonly watch: boolean
  readonly timeout: string
  readonly window: string
  readonly prometheus?: string
  readonly chart?: string
  readonly values: readonly string[]
  readonly set: readonly string[]
  readonly render?: string
  readonly service: readonly string[]
  readonly metricsBearerFile?: string
}

const PHASES: readonly Phase[] = ['pre', 'during', 'post']
const API_PORT = 3000

/** Gate by gate whether a rollout may begin, go on, or is done. Exit code 0 go, 3 stop, 1 when it cannot be told. */
export async function rolloutCheck({ output, env }: CommandContext, options: CheckOptions): Promise<void> {
  const phase = PHASES.find((one) => one === options.phase)
  if (phase === undefined) throw new CliError(`--phase is one of ${PHASES.join(', ')}, not ${options.phase}.`, undefined, { exitCode: 2 })
  const windowMs = secondsOf(options.window, '--window') * 1000
  const timeoutMs = secondsOf(options.timeout, '--timeout') * 1000
  const bearer =
    options.metricsBearerFile === undefined
      ? undefined
      : readSecretFile(options.metricsBearerFile, 'The file of --metrics-bearer-file').trim()
  const addresses = replicasByUrl(options.service)
  const cluster = kubectl(options.namespace, env)
  const ask = async (now: Phase): Promise<readonly Row[]> => {
    if (addresses.length === 0)
      return await checkCluster({ ...options, cluster, env, windowMs, bearer, prometheus: options.prometheus, render: options }, now)
    const looks = await lookTwice(addresses, windowMs, bearer)
    return [...serviceGates(looks), ...serviceStops(looks)]
  }
  const plan = () => (addresses.length === 0 ? readPlan(cluster, fullnameOf(options.release)) : Promise.resolve(undefined))
  const { rows, decision } = options.watch ? await watch(ask, timeoutMs, output) : await once(ask, phase)
  const advice = decision === 'stop' ? adviceOf(rows, await plan(), options) : undefined
  if (output.json) output.line(JSON.stringify({ decision, gates: rows, ...(advice === undefined ? {} : { advice }) }))
  else {
    for (const line of linesOf(rows)) output.line(line)
    output.line()
    output.line(decision === 'go' ? colour('green', 'go') : colour(decision === 'stop' ? 'red' : 'yellow', decision))
    for (const line of advice ?? []) output.line(line)
  }
  process.exitCode = EXIT[decision]
}

type Asked = { readonly rows: readonly Row[]; readonly decision: Decision }

async function once(ask: (phase: Phase) => Promise<readonly Row[]>, phase: Phase): Promise<Asked> {
  const rows = await ask(phase)
  return { rows, decision: decide(rows) }
}

/** Beside `helm upgrade`: asks until everything is rolled and then what comes after holds, or something stops, or time is over. */
async function watch(ask: (phase: Phase) => Promise<readonly Row[]>, timeoutMs: number, output: Output): Promise<Asked> {
  const deadline = performance.now() + timeoutMs
  let phase: Phase = 'during'
  for (;;) {
    const rows = await ask(phase)
    const decision = decide(rows)
    if (decision === 'stop' || (decision === 'go' && phase === 'post') || performance.now() > deadline) return { rows, decision }
    if (decision === 'go') phase = 'post'
    const open = rows.filter(({ state }) => state === 'wait' || state === 'unknown')
    output.note(
      `${new Date().toISOString()} ${decision === 'go' ? 'rolled; looking at what comes after' : open.map(({ id, evidence }) => `${id} ${evidence}`).join('; ')}`,
    )
  }
}

/** What to do now, and why. */
function adviceOf(rows: readonly Row[], plan: RolloutPlan | undefined, options: CheckOptions): readonly string[] {
  const { namespace, release } = options
  const reasons = rows.filter(({ state }) => state === 'stop').map(({ id, name, evidence }) => `${id} ${name}: ${evidence}`)
  if (options.phase === 'pre') return [...reasons, 'do not begin']
  if (plan?.verdict === 'rollback-ok') return [...reasons, `go back: helm -n ${namespace} rollback ${release} ${plan.revision}`]
  const why = plan === undefined ? 'no plan says that the version before works with the schema' : plan.reason
  return [...reasons, `roll forward with a corrected version: ${why}`]
}

export type PlanOptions = {
  readonly namespace: string
  readonly release: string
  readonly backupAt?: string
  readonly drillAt?: string
  readonly dryRun: boolean
}

/** Writes down what a rollout would go back to: revision, images, values, and whether the schema allows it. */
export async function rolloutPlan({ output, env }: CommandContext, options: PlanOptions): Promise<void> {
  const { namespace, release } = options
  const seen = { backupAt: momentOf(options.backupAt, '--backup-at'), drillAt: momentOf(options.drillAt, '--drill-at') }
  const cluster = kubectl(namespace, env)
  const [live] = (await helmRevisions(cluster, release)).filter(({ status }) => status === 'deployed')
  if (live === undefined)
    throw new CliError(`There is no deployed release ${release} in ${namespace}.`, 'Say which with --namespace and --release.')
  const [workloads, before, level] = await Promise.all([
    workloadsOf(cluster, release),
    readPlan(cluster, fullnameOf(release)),
    liveLevel(cluster, release),
  ])
  const plan: RolloutPlan = {
    at: new Date().toISOString(),
    release,
    revision: live.revision,
    chart: live.chart,
    images: Object.fromEntries(workloads.map(({ name, images }) => [name, images.join(' ')])),
    valuesSha256: valuesHash(live.values),
    ...(await schemaVerdict(level)),
    backupAt: seen.backupAt ?? before?.backupAt ?? null,
    drillAt: seen.drillAt ?? before?.drillAt ?? null,
  }
  if (!options.dryRun) await cluster.apply(planObject(fullnameOf(release), namespace, plan))
  if (output.json) return output.line(JSON.stringify(plan))
  output.line(`revision ${plan.revision} (${plan.chart}), ${plan.verdict}: ${plan.reason}`)
  for (const [name, image] of Object.entries(plan.images)) output.line(`  ${name}  ${image}`)
}

/** The schema level of the version that runs now, as it says itself; null when it does not. */
async function liveLevel(cluster: Kubectl, release: string): Promise<number | null> {
  const pod = (await podsOf(cluster, release, ['api'])).find(({ ready }) => ready)
  if (pod === undefined) return null
  try {
    const forward = await cluster.forward(pod.name, API_PORT)
    try {
      const answer = await fetch(`${forward.url}/version`, { signal: AbortSignal.timeout(10_000) })
      const said = (await answer.json()) as { readonly schema?: { readonly level?: number } }
      return said.schema?.level ?? null
    } finally {
      forward.stop()
    }
  } catch {
    return null
  }
}

function momentOf(text: string | undefined, option: string): string | undefined {
  if (text === undefined) return undefined
  if (Number.isNaN(Date.parse(text)))
    throw new CliError(`${option} is a time like 2026-05-01T02:15:00Z, not ${text}.`, undefined, { exitCode: 2 })
  return new Date(text).toISOString()
}

function secondsOf(text: string, option: string): number {
  if (!/^\d{1,5}$/.test(text)) throw new CliError(`${option} is a whole number of seconds, not ${text}.`, undefined, { exitCode: 2 })
  return Number(text)
}
