import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cliPage } from './pages/cli.ts'
import { configurationPage } from './pages/configuration.ts'
import { documentsPage } from './pages/documents.ts'
import { errorsPage } from './pages/errors.ts'
import { eventsPage } from './pages/events.ts'
import { policyPage } from './pages/policy.ts'

/** The generated pages by file name. Each is made from what the code itself declares. */
export const PAGES: Readonly<Record<string, () => string>> = {
  'cli.md': cliPage,
  'configuration.md': configurationPage,
  'documents.md': documentsPage,
  'errors.md': errorsPage,
  'events.md': eventsPage,
  'policy.md': policyPage,
}

const here = import.meta.dirname

/** Names of the pages whose file is not what the code says now. */
export function stalePages(): readonly string[] {
  return Object.entries(PAGES).flatMap(([name, make]) => (textOf(name) === make() ? [] : [name]))
}

function textOf(name: string): string | undefined {
  try {
    return readFileSync(join(here, name), 'utf8')
  } catch {
    return undefined
  }
}

if (import.meta.main) {
  const stale = stalePages()
  if (process.argv.includes('--check')) {
    for (const name of stale) process.stderr.write(`docs/reference/${name} is not what the code says; run \`make reference\`\n`)
    process.exitCode = stale.length === 0 ? 0 : 1
  } else {
    for (const name of stale) writeFileSync(join(here, name), PAGES[name]?.() ?? '')
    process.stdout.write(stale.length === 0 ? 'the reference is current\n' : `written: ${stale.join(', ')}\n`)
  }
}
