import { CliError } from '../cli-error.ts'
import type { ReplicaAddress } from './replica.ts'
import { ROLES } from './service-gates.ts'

/** `sts=http://10.0.0.7:9464`: where a replica answers probes and metrics. The same role may stand more than once. */
export function replicasByUrl(given: readonly string[]): readonly ReplicaAddress[] {
  return given.map((text) => {
    const [, role = '', url = ''] = /^([a-z-]+)=(https?:\/\/\S+)$/.exec(text) ?? []
    if (!ROLES.includes(role) || !URL.canParse(url))
      throw new CliError(`--service takes <role>=<url>, not ${text}.`, `Roles: ${ROLES.join(', ')}; the URL is that of METRICS_PORT.`, {
        exitCode: 2,
      })
    return { role, name: `${role} ${new URL(url).host}`, url: url.replace(/\/$/, '') }
  })
}
