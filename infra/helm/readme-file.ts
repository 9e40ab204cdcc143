import {
  COMPONENTS,
  METRICS_PORT,
  SECRET_KEYS,
  SERVICE_NAMES,
  type SecretKeyDescription,
} from '../../packages/service/src/deploy-contract.ts'
import { valuesKeys } from './values-keys.ts'

/** README.md of the chart: how it is used, and every value, key and port as the sources say them. */
export function readmeFile(): string {
  return `<!-- Made from values.yaml and packages/service/src/deploy-contract.ts by \`make chart\`; do not edit. -->
# Chart caracal

API, STS, Gateway, Audit and Coordinator of Caracal on Kubernetes 1.30 or newer, from one image; the MCP Adapter when it is switched on.

\`\`\`sh
helm upgrade --install caracal infra/helm/caracal \\
  --namespace caracal --create-namespace \\
  --values infra/helm/caracal/values.production.yaml
\`\`\`

Always choose a profile; the bare values refuse to render.

| Profile | Mode | For |
|---|---|---|
| \`values.production.yaml\` | \`stable\` | production: replicas, autoscaling, disruption budgets, policies, monitoring |
| \`values.rc.yaml\` | \`rc\` | staging: the trust boundary of production |
| \`values.dev.yaml\` | \`dev\` | one host: a Postgres of the chart’s own, no Redis |

More to start from is in \`examples/\`: a managed cloud with what EKS, GKE and AKS need beside it, an evaluation, a private cluster, a
regulated workload, and the manifests of External Secrets.

Before the first install: the Secret \`caracal-runtime\` (\`caracal secrets generate\`, or External Secrets), Postgres with TLS, Redis with
\`maxmemory-policy noeviction\`, and, for \`serviceMonitor\` and \`alertRules\`, the CRDs of the Prometheus Operator. Without them:
\`--set serviceMonitor.enabled=false --set alertRules.enabled=false\`.

After it: \`helm test caracal -n caracal\` walks the whole path once. How to upgrade is in \`UPGRADE.md\`.

## Components

| Component | Arguments | Port | Metrics | Volume for evidence |
|---|---|---|---|---|
${SERVICE_NAMES.map((name) => {
  const { args, port, spool } = COMPONENTS[name]
  return `| ${name} | \`${args.join(' ')}\` | ${port} | ${METRICS_PORT} | ${spool ? 'yes' : '–'} |`
}).join('\n')}

## Keys of the runtime Secret

| Key | Kept as | Mounted by | Meaning |
|---|---|---|---|
${Object.entries<SecretKeyDescription>(SECRET_KEYS)
  .map(([key, { meaning, required, from }]) => {
    const mounted = Object.entries(COMPONENTS).filter(([, { keys }]) => keys.some((one) => one.key === key))
    const remotes = [...new Set(from.map(({ remote }) => remote))].map((remote) => `\`${remote}\``).join(', ')
    return `| \`${key}\`${required ? '' : ' (optional)'} | ${remotes} | ${mounted.map(([name]) => name).join(', ')} | ${meaning} |`
  })
  .join('\n')}

A key in rotation has a second value, \`<key>Previous\`; it is mounted when \`secrets.rotation\` names the key.

## Values

| Key | Default | Meaning |
|---|---|---|
${valuesKeys()
  .map(({ path, value, comment }) => `| \`${path.join('.')}\` | ${shown(value)} | ${comment.replaceAll('|', '\\|')} |`)
  .join('\n')}
`
}

function shown(value: unknown): string {
  if (value === '') return '`""`'
  return `\`${(typeof value === 'string' ? value : JSON.stringify(value)).replaceAll('|', '\\|')}\``
}
