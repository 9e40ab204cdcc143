import { type ValuesBranch, type ValuesKey, valuesTree } from './values-keys.ts'

type Schema = Readonly<Record<string, unknown>>

const text = { type: 'string' }
const texts = { type: 'array', items: text }
const free = { type: 'object', additionalProperties: true }
const textMap = { type: 'object', additionalProperties: text }
const port = { type: 'integer', minimum: 1, maximum: 65_535 }
const quantity = { type: 'string', pattern: '^[0-9]+(\\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$' }
const duration = { type: 'string', pattern: '^([0-9]+(ms|s|m|h))+$' }
const objects = { type: 'array', items: { type: 'object' } }
const textsOrObjects = { type: 'array', items: { type: ['string', 'object'] } }
const oneOf = (...values: readonly string[]) => ({ type: 'string', enum: values })
const rules = (side: 'to' | 'from') => ({
  type: 'array',
  items: {
    type: 'object',
    additionalProperties: false,
    properties: {
      cidrs: texts,
      except: texts,
      [side]: { type: 'array', items: { type: 'object' } },
      ports: { type: 'array', items: { type: ['integer', 'object'] } },
      components: texts,
    },
    anyOf: [{ required: ['cidrs'] }, { required: [side] }],
  },
})

/** MCP servers by the name of the resource that governs each; servers over pipes are for the command line. */
const mcpServers = {
  type: 'array',
  items: {
    type: 'object',
    additionalProperties: false,
    required: ['name', 'url'],
    properties: {
      name: { type: 'string', pattern: '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$' },
      url: { type: 'string', pattern: '^https?://[^\\s,]+$' },
    },
  },
}
/** As services read it: one number with its unit. */
const timespan = { type: 'string', pattern: '^[0-9]+(ms|s|m|h|d)$' }

/** What is stricter, or freer, than the type of the default; the first pattern that matches the path counts. */
const PARTICULAR: readonly (readonly [RegExp, Schema])[] = [
  [/^global\.mode$/, oneOf('', 'dev', 'rc', 'stable')],
  [/^global\.imagePullPolicy$/, oneOf('Always', 'IfNotPresent', 'Never')],
  [/^global\.otelExporterOtlpProtocol$/, oneOf('grpc', 'http/protobuf')],
  [/^global\.logLevel$/, oneOf('trace', 'debug', 'info', 'warn', 'error', 'fatal')],
  [/^global\.digest$/, { type: 'string', pattern: '^(sha256:[0-9a-f]{64})?$' }],
  [/^streams\.driver$/, oneOf('redis', 'postgres')],
  [/^secrets\.database\.sslMode$/, oneOf('verify-full', 'require', 'disable')],
  [/^secrets\.plaintext$/, textMap],
  [/^secrets\.runtimeSecretName$/, { type: 'string', minLength: 1 }],
  [/^migrations\.mode$/, oneOf('job', 'init', 'external')],
  [/^scheduling\.antiAffinity$/, oneOf('none', 'soft', 'hard')],
  [/retentionPolicy\.when(Deleted|Scaled)$/, oneOf('Retain', 'Delete')],
  [/^networkPolicy\.extraEgress$/, rules('to')],
  [/^networkPolicy\.extraIngress$/, rules('from')],
  [/^networkPolicy\.(dnsEgress|postgres\.to|redis\.to|otlp\.to|ingressController|clients|prometheus)$/, textsOrObjects],
  [/^mcpAdapter\.servers$/, mcpServers],
  [/^mcpAdapter\.publicUrl$/, { type: 'string', pattern: '^(https?://[^\\s,]+)?$' }],
  [/^mcpAdapter\.serverTimeout$|^budgets\.(chargeExpiration|chargeMax|sweepInterval|sliceTtl|usageRetention)$/, timespan],
  [/^budgets\.slicePercent$/, { type: 'integer', minimum: 0, maximum: 50 }],
  [/^budgets\.sweepBatch$/, { type: 'integer', minimum: 1, maximum: 10_000 }],
  [/^extraObjects$/, textsOrObjects],
  [/\.minAvailable$/, { type: ['string', 'integer'] }],
  [/\.maxUnavailable$/, { type: ['string', 'integer'] }],
  [/\.targetMemoryUtilizationPercentage$/, { type: ['string', 'integer'] }],
  [/\.targetCPUUtilizationPercentage$/, { type: 'integer', minimum: 1 }],
  [/\.loadBalancer\.port$/, { type: 'integer', minimum: 0, maximum: 65_535 }],
  [/\.port$/, port],
  [/\.dbPool$/, { type: 'integer', minimum: 2, maximum: 200 }],
  [/\.(replicas|minReplicas|maxReplicas)$/, { type: 'integer', minimum: 1 }],
  [/\.size$/, quantity],
  [/\.(interval|scrapeTimeout)$/, duration],
  [/^alertRules\.thresholds\./, { type: 'number', minimum: 0 }],
  [/\.(env|extraEnvFrom|extraVolumes|extraVolumeMounts|initContainers|sidecars|tolerations|hostAliases|parentRefs)$/, objects],
  [/\.topologySpreadConstraints$/, objects],
  [/annotations$|Annotations$|[lL]abels$|[nN]odeSelector$/, { type: 'object', additionalProperties: { type: ['string', 'null'] } }],
  [/\.(resources|behavior|dnsConfig|affinity|podSecurityContext|containerSecurityContext)$/, free],
]

/** values.schema.json: what is not in values.yaml does not exist, and what is has the type of its default or one said above. */
export function valuesSchema(): string {
  const schema = { $schema: 'http://json-schema.org/draft-07/schema#', title: 'Values of the chart caracal', ...branchSchema(valuesTree()) }
  return `${JSON.stringify(schema, null, 2)}\n`
}

function branchSchema({ members }: ValuesBranch): Schema {
  return {
    type: 'object',
    additionalProperties: false,
    properties: Object.fromEntries(
      [...members].map(([name, member]) => [name, 'members' in member ? branchSchema(member) : keySchema(member)]),
    ),
  }
}

function keySchema(key: ValuesKey): Schema {
  const path = key.path.join('.')
  const particular = PARTICULAR.find(([pattern]) => pattern.test(path))?.[1]
  return { description: key.comment, ...(particular ?? byDefault(key)) }
}

function byDefault({ path, value }: ValuesKey): Schema {
  if (typeof value === 'string') return text
  if (typeof value === 'boolean') return { type: 'boolean' }
  if (Number.isInteger(value)) return { type: 'integer', minimum: 0 }
  if (Array.isArray(value)) return texts
  throw new TypeError(`say in values-schema.ts what ${path.join('.')} may be`)
}
