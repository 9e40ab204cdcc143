import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { parseAllDocuments } from 'yaml'
import { at, isMap, listAt, mapAt, textAt } from './tree.ts'

/** Custom resources that the chart and its examples use, with the definitions of their makers. */
const DEFINITIONS = [
  { module: 'github.com/external-secrets/external-secrets', version: 'v1.3.2', folder: 'config/crds/bases' },
  { module: 'github.com/cert-manager/cert-manager', version: 'v1.21.2', folder: 'deploy/crds' },
  { module: 'github.com/prometheus-operator/prometheus-operator', version: 'v0.85.0', folder: 'example/prometheus-operator-crd' },
] as const

/**
 * Where kubeconform finds the strict schemas (nothing additional, no nulls) of a Kubernetes version and of the custom resources. They are
 * made once per version, outside the work tree, from the OpenAPI document in the module of Kubernetes.
 */
export function schemaLocation(kubernetes: string): string {
  const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'caracal')
  const name = ['schemas', kubernetes, ...DEFINITIONS.map(({ version }) => version)].join('-')
  const folder = join(cache, name)
  if (!existsSync(folder)) {
    const part = join(cache, `.${name}.${process.pid}`)
    mkdirSync(part, { recursive: true })
    for (const [file, schema] of [...kubernetesSchemas(kubernetes), ...DEFINITIONS.flatMap(customSchemas)])
      writeFileSync(join(part, file), JSON.stringify(schema))
    renameSync(part, folder)
  }
  return join(folder, '{{.ResourceKind}}_{{.Group}}_{{.ResourceAPIVersion}}.json')
}

type Schema = Readonly<Record<string, unknown>>
type Named = readonly [string, Schema]

/** As kubeconform spells it: the core group goes by its version. */
const fileOf = (group: string, version: string, kind: string) => `${kind.toLowerCase()}_${group || version}_${version}.json`

/** The folder of a Go module, downloaded when it is not there. */
function moduleFolder(module: string, version: string): string {
  const answer: unknown = JSON.parse(execFileSync('go', ['mod', 'download', '-json', `${module}@${version}`], { encoding: 'utf8' }))
  return textAt(answer, 'Dir')
}

function kubernetesSchemas(version: string): readonly Named[] {
  const path = join(moduleFolder('k8s.io/kubernetes', version), 'api/openapi-spec/swagger.json')
  const document: unknown = JSON.parse(readFileSync(path, 'utf8'))
  const definitions = isMap(document) ? mapAt(document, 'definitions') : {}
  return Object.values(definitions).flatMap((definition): readonly Named[] => {
    const [known, ...more] = listAt(definition, 'x-kubernetes-group-version-kind')
    if (known === undefined || more.length > 0 || at(definition, 'properties.metadata') === undefined) return []
    const used: Record<string, unknown> = {}
    const collect = (name: string): void => {
      if (used[name] !== undefined) return
      // A definition may hold itself: known before it is walked.
      used[name] = {}
      used[name] = strict(SCALARS[name] ?? definitions[name], collect)
    }
    const schema = strict(definition, collect)
    return [[fileOf(textAt(known, 'group'), textAt(known, 'version'), textAt(known, 'kind')), { ...schema, definitions: used }]]
  })
}

/** What the OpenAPI document calls text and the API takes as numbers too. */
const SCALARS: Readonly<Record<string, Schema>> = {
  'io.k8s.apimachinery.pkg.api.resource.Quantity': { type: ['string', 'number'] },
  'io.k8s.apimachinery.pkg.util.intstr.IntOrString': { type: ['string', 'integer'] },
}

function customSchemas({ module, version, folder }: (typeof DEFINITIONS)[number]): readonly Named[] {
  const path = join(moduleFolder(module, version), folder)
  return readdirSync(path)
    .filter((file) => file.endsWith('.yaml'))
    .flatMap((file) => parseAllDocuments(readFileSync(join(path, file), 'utf8')).map((document): unknown => document.toJS()))
    .filter((value) => textAt(value, 'kind') === 'CustomResourceDefinition')
    .flatMap((definition) =>
      listAt(definition, 'spec.versions').map((served): Named => {
        const name = fileOf(textAt(definition, 'spec.group'), textAt(served, 'name'), textAt(definition, 'spec.names.kind'))
        return [name, strict(at(served, 'schema.openAPIV3Schema'), () => undefined)]
      }),
    )
}

/** The same schema, closed: an object with properties has no others. Formats are OpenAPI's own and are left out. */
function strict(value: unknown, refers: (definition: string) => void): Schema {
  if (!isMap(value)) throw new TypeError('a schema is no map')
  const open = value['x-kubernetes-preserve-unknown-fields'] === true
  const schema: Record<string, unknown> = {}
  for (const [key, inner] of Object.entries(value)) {
    if (key === 'properties')
      schema[key] = Object.fromEntries(Object.entries(mapAt(value, key)).map(([name, one]) => [name, strict(one, refers)]))
    else if (key === 'items' || (key === 'additionalProperties' && isMap(inner)) || key === 'not') schema[key] = strict(inner, refers)
    else if (key === 'allOf' || key === 'anyOf' || key === 'oneOf') schema[key] = listAt(value, key).map((one) => part(one, refers))
    else if (key === '$ref') {
      schema[key] = inner
      refers(String(inner).replace('#/definitions/', ''))
    } else if (KEPT.has(key)) schema[key] = inner
  }
  if (value['x-kubernetes-int-or-string'] === true) schema.type = ['integer', 'string']
  if (schema.properties !== undefined && schema.additionalProperties === undefined && !open) schema.additionalProperties = false
  return schema
}

/** A part of a combination says something about an object that is closed elsewhere. */
function part(value: unknown, refers: (definition: string) => void): Schema {
  const { additionalProperties, ...schema } = strict(value, refers)
  return additionalProperties === false ? schema : { ...schema, ...(additionalProperties === undefined ? {} : { additionalProperties }) }
}

const KEPT = new Set([
  'type',
  'enum',
  'required',
  'pattern',
  'minimum',
  'maximum',
  'minLength',
  'maxLength',
  'minItems',
  'maxItems',
  'minProperties',
  'maxProperties',
  'additionalProperties',
])
