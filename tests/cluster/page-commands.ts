import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fences } from '../docs/markdown-files.ts'
import { repository } from './place.ts'

/** As a page says `npx caracal`, out of the work tree. */
export const CARACAL = `${join(repository, 'node_modules/.bin/node')} ${join(repository, 'apps/cli/src/main.ts')}`

/** The one block of commands of a page of docs/operations that holds some words, as it stands there. */
export function block(page: string, holding: string): string {
  const text = readFileSync(join(repository, 'docs/operations', page), 'utf8')
  const found = fences(text).filter((fence) => fence.language === 'sh' && fence.text.includes(holding))
  const [only, ...more] = found
  if (only === undefined || more.length > 0) throw new Error(`${found.length} blocks of ${page} hold ${holding}`)
  return only.text
}
