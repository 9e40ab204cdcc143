import { apiConfiguration } from '@caracal/api'
import { auditConfiguration } from '@caracal/audit'
import { coordinatorConfiguration } from '@caracal/coordinator'
import { gatewayConfiguration } from '@caracal/gateway'
import type { SettingDescription } from '@caracal/service'
import { stsConfiguration } from '@caracal/sts'
import { code, generatedFrom, page, table } from './markdown.ts'

const ROLES = {
  api: apiConfiguration,
  sts: stsConfiguration,
  gateway: gatewayConfiguration,
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
- Settings marked *rotates* also take \`<NAME>_PREVIOUS\`: while both are set, both are accepted.
- A key is 32 random bytes as 64 hex digits. Make one with \`openssl rand -hex 32\`.
- A duration has a unit: \`500ms\`, \`10s\`, \`5m\`, \`1h\`.
- An unset \`CARACAL_MODE\` is \`stable\`, the strictest.`,
    ...Object.entries(ROLES).map(([role, configuration]) => `## ${role}\n\n${settings(configuration.describe())}`),
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
