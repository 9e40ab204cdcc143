import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { contractFile } from './contract-file.ts'
import { DASHBOARD_NAMES, dashboardFile } from './dashboards.ts'
import { externalSecret } from './external-secret-files.ts'
import { readmeFile } from './readme-file.ts'
import { valuesSchema } from './values-schema.ts'

/** The generated files of the chart by path. Each is made from the deployment contract or from the values. */
export const FILES: Readonly<Record<string, () => string>> = {
  'files/contract.yaml': contractFile,
  ...Object.fromEntries(DASHBOARD_NAMES.map((name) => [`files/dashboards/${name}.json`, () => dashboardFile(name)])),
  'values.schema.json': valuesSchema,
  'README.md': readmeFile,
  'examples/external-secrets/externalsecret-runtime.yaml': () => externalSecret('slashed'),
  'examples/external-secrets/externalsecret-runtime-dashed.yaml': () => externalSecret('dashed'),
}

const chart = join(import.meta.dirname, 'caracal')

/** The files that are not what their sources say now, with what they should be. */
export function staleFiles(): Readonly<Record<string, string>> {
  const stale: Record<string, string> = {}
  for (const [path, make] of Object.entries(FILES)) {
    const text = make()
    if (textOf(path) !== text) stale[path] = text
  }
  return stale
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(join(chart, path), 'utf8')
  } catch {
    return undefined
  }
}

if (import.meta.main) {
  const stale = staleFiles()
  const paths = Object.keys(stale)
  if (process.argv.includes('--check')) {
    for (const path of paths) process.stderr.write(`infra/helm/caracal/${path} is not what its source says; run \`make chart\`\n`)
    process.exitCode = paths.length === 0 ? 0 : 1
  } else {
    for (const [path, text] of Object.entries(stale)) writeFileSync(join(chart, path), text)
    process.stdout.write(paths.length === 0 ? 'the chart’s generated files are current\n' : `written: ${paths.join(', ')}\n`)
  }
}
