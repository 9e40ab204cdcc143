import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { markdownFiles } from './markdown-files.ts'
import { commandsOf, filesOf } from './page-commands.ts'
import { openPage, type PageRun } from './page-run.ts'

const pages = markdownFiles()
  .filter(({ path }) => /^(?:README|CONTRIBUTING)\.md$|^docs\/|^examples\/[^/]+\/README\.md$/.test(path))
  // What operates a cluster is looked at by operations.test.ts.
  .filter(({ path }) => !path.startsWith('docs/operations/') || path === 'docs/operations/policy-changes.md')
  // It needs a Gateway with other settings for each chapter: tests/auth-modes reads it.
  .filter(({ path }) => path !== 'docs/auth-modes.md')
  .map((page) => ({ ...page, commands: commandsOf(page.text) }))
  .filter(({ commands }) => commands.length > 0)

describe.each(pages)('[P-128] [P-158] the commands of $path', ({ text, commands }) => {
  let page: PageRun
  let output = ''

  beforeAll(async () => {
    page = await openPage()
    for (const file of filesOf(text)) page.write(file.name, file.text)
  })
  afterAll(() => page?.close())

  it.each(commands.map((command) => ({ ...command, title: `${command.line}: ${command.text.split('\n')[0]}` })))(
    '$title',
    async ({ text: command, opensBlock, expected, refused }) => {
      const ran = await page.run(command)
      output = opensBlock ? ran.output : `${output}\n${ran.output}`
      if (refused) expect(ran.code, ran.output).not.toBe(0)
      else expect(ran.code, ran.output).toBe(0)
      expect(missingLines(output, expected.map(page.withPorts))).toEqual([])
      if (/^make up\b/.test(command)) await showsAllowedAndRefused(page, ran.output)
    },
    120_000,
  )
})

/** Those of the lines that the output does not have, in this order. `…` stands for anything; runs of blanks are one. */
function missingLines(output: string, expected: readonly string[]): string[] {
  const missing: string[] = []
  let rest = plain(output)
  for (const line of expected) {
    const pattern = plain(line)
      .trim()
      .split('…')
      .map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'))
      .join('.*')
    const found = new RegExp(pattern).exec(rest)
    if (found === null) missing.push(line)
    else rest = rest.slice(found.index + found[0].length)
  }
  return missing
}

function plain(text: string): string {
  return text.replaceAll(/[ \t]+/g, ' ')
}

/** `make up` ends with two commands to paste: the first is allowed, the second is refused. */
async function showsAllowedAndRefused(page: PageRun, greeting: string): Promise<void> {
  const [allowed = '', refused = ''] = greeting.split('\n').filter((line) => line.trim().startsWith('curl '))
  expect((await page.run(allowed)).output).toContain('HTTP/1.1 200')
  const answer = (await page.run(refused)).output
  expect(answer).toContain('HTTP/1.1 403')
  expect(answer).toContain('insufficient_scope')
}
