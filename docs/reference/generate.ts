import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cliPage } from './pages/cli.ts'
import { configurationPage } from './pages/configuration.ts'
import { documentsPage } from './pages/documents.ts'
import { errorsPage } from './pages/errors.ts'
import { eventsPage } from './pages/events.ts'
import { policyPage } from './pages/policy.ts'
import { routesPage } from './pages/routes.ts'

/** The generated pages by file name. Each is made from what the code itself declares. */
export const PAGES: Readonly<Record<string, () => string | Promise<string>>> = {
  'cli.md': cliPage,
  'configuration.md': configurationPage,
  'documents.md': documentsPage,
  'errors.md': errorsPage,
  'events.md': eventsPage,
  'policy.md': policyPage,
  'routes.md': routesPage,
}

const here = import.meta.dirname

/** The pages whose file is not what the code says now, with what it should be. */
export async function stalePages(): Promise<Readonly<Record<string, string>>> {
  const stale: Record<string, string> = {}
  for (const [name, make] of Object.entries(PAGES)) {
    const text = await make()
    if (textOf(name) !== text) stale[name] = text
  }
  return stale
}

function textOf(name: string): string | undefined {
  try {
    return readFileSync(join(here, name), 'utf8')
  } catch {
    return undefined
  }
}

if (import.meta.main) {
  const stale = await stalePages()
  const names = Object.keys(stale)
  if (process.argv.includes('--check')) {
    for (const name of names) process.stderr.write(`docs/reference/${name} is not what the code says; run \`make reference\`\n`)
    process.exitCode = names.length === 0 ? 0 : 1
  } else {
    for (const [name, text] of Object.entries(stale)) writeFileSync(join(here, name), text)
    process.stdout.write(names.length === 0 ? 'the reference is current\n' : `written: ${names.join(', ')}\n`)
  }
}
