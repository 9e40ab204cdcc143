import { gunzipSync } from 'node:zlib'
import { at, type Kubectl, type KubeObject, numberAt, textAt } from './kubectl.ts'

/** One revision of a Helm release, from the Secret that Helm keeps it in. */
export type HelmRevision = {
  readonly revision: number
  readonly status: string
  readonly chart: string
  readonly appVersion: string
  readonly values: unknown
  /** The rendered objects, YAML. */
  readonly manifest: string
}

/** All revisions that the cluster keeps, newest first. */
export async function helmRevisions(cluster: Kubectl, release: string): Promise<readonly HelmRevision[]> {
  const secrets = await cluster.list('secrets', `owner=helm,name=${release}`)
  return secrets.flatMap((secret) => revisionOf(secret) ?? []).sort((a, b) => b.revision - a.revision)
}

/** Undefined for what Helm did not write. */
export function revisionOf(secret: KubeObject): HelmRevision | undefined {
  const data = textAt(secret, 'data', 'release')
  if (data === '') return undefined
  // Kubernetes encodes once, Helm once more around its gzip.
  const packed = Buffer.from(Buffer.from(data, 'base64').toString('utf8'), 'base64')
  const text = packed[0] === 0x1f && packed[1] === 0x8b ? gunzipSync(packed).toString('utf8') : packed.toString('utf8')
  const found: unknown = JSON.parse(text)
  return {
    revision: numberAt(found, 'version'),
    status: textAt(found, 'info', 'status'),
    chart: `${textAt(found, 'chart', 'metadata', 'name')}-${textAt(found, 'chart', 'metadata', 'version')}`,
    appVersion: textAt(found, 'chart', 'metadata', 'appVersion'),
    values: at(found, 'config') ?? {},
    manifest: textAt(found, 'manifest'),
  }
}
