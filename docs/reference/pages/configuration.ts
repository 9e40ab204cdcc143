import { apiConfiguration } from '@caracal/api'
import { auditConfiguration } from '@caracal/audit'
import { coordinatorConfiguration } from '@caracal/coordinator'
import { gatewayConfiguration } from '@caracal/gateway'
import { mcpConfiguration } from '@caracal/mcp-adapter'
import type { SettingDescription } from '@caracal/service'
import { stsConfiguration } from '@caracal/sts'
import { compactConfiguration } from '../../../apps/cli/src/compact/compact-settings.ts'
import { code, generatedFrom, page, table } from './markdown.ts'

const ROLES = {
  api: apiConfiguration,
  sts: stsConfiguration,
  gateway: gatewayConfiguration,
  'mcp-adapter': mcpConfiguration,
  audit: auditConfiguration,
  coordinator: coordinatorConfiguration,
} as const

/** Every setting of every role. */
export function configurationPage(): string {
  return page(
    '# Configuration',
    generatedFrom('the `configuration.ts` of each app'),
    `\`caracal up\` needs none of this; with \`--database-url postgres://…\` and \`--redis-url redis://…\` it runs on servers of yours. \`caracal serve <role>\` takes its settings from the environment, once, at start. Anything wrong
stops it with exit code 78 and a list of everything that is wrong: a number out of range, a weak key, a placeholder, a file that cannot be
read, a \`CARACAL_…\` name that does not exist.`,
    `- Every setting can be given as \`<NAME>_FILE\`, a path whose content is the value. Both at once is an error.
- Settings marked *rotates* also take \`<NAME>_PREVIOUS\`: while both are set, both are accepted. In a file the second line is the
  previous value, so that both change in one step.
- What is given as a file is read again when the file changes, within two seconds and without a restart: keys, tokens, \`CA_BUNDLE\`, and
  user and password of \`DATABASE_URL\` and \`REDIS_URL\`. The link that Kubernetes swaps for a mounted Secret is such a change. A value that
  breaks its rules is an error in the log and counts in \`caracal_settings_refused\`; the old one stays.
- To rotate a key that several services share: write \`old\`, second line \`new\`; when every service has it
  (\`caracal_settings_reread_total\`) \`new\`, second line \`old\`; at last \`new\` alone. A token that is replaced without a second line is
  accepted for two more minutes, a key until the next change; \`ZONE_KEK\` is never replaced without naming the one in use. What is sealed
  by the old \`ZONE_KEK\` needs it as long as it is stored.
- A key is 32 random bytes as 64 hex digits. Make one with \`openssl rand -hex 32\`.
- A duration has a unit: \`500ms\`, \`10s\`, \`5m\`, \`1h\`.
- An unset \`CARACAL_MODE\` is \`stable\`, the strictest.`,
    ...Object.entries(ROLES).map(([role, configuration]) => `## ${role}\n\n${settings(configuration.describe())}`),
    `## Several roles in one process\n\n\`caracal serve gateway --with api,sts,audit,coordinator --migrate\` takes these, and of the tables above
what is not about addresses, stores and keys: those are its own. Where roles stand, keys between them and their addresses are the process's matter.

${settings(compactConfiguration.describe())}`,
  )
}

function settings(rows: readonly SettingDescription[]): string {
  return table(
    ['Setting', 'Type', 'Default', 'Meaning'],
    rows.map((row) => [
      code(row.name),
      row.type,
      row.required ? '**required**' : defaultOf(row),
      `${row.meaning}${row.rotates ? ' *Rotates.*' : ''}`,
    ]),
  )
}

function defaultOf(row: SettingDescription): string {
  return row.default === undefined || row.default === '' ? '–' : code(row.default)
}
