import { spawnSync } from 'node:child_process'
import { fences } from './markdown-files.ts'

/** One command of a page, as a person would paste it. */
export type PageCommand = {
  /** Line of the page, from 1. */
  readonly line: number
  readonly text: string
  /** The comment above it says that it is refused: then it must fail. */
  readonly refused: boolean
  /** It is the first of its block. */
  readonly opensBlock: boolean
  /** Lines that the output of its block must contain, on the last command of the block. */
  readonly expected: readonly string[]
}

type Unplaced = Pick<PageCommand, 'line' | 'text' | 'refused'>

/** A file that a page shows: a `ts` block that begins with `// name.ts`. */
export type PageFile = { readonly name: string; readonly text: string }

/** Every command in the `sh` blocks of a page, in order. A `text` block that follows one says what it prints. */
export function commandsOf(page: string): PageCommand[] {
  const blocks = fences(page)
  return blocks.flatMap((block, at) => {
    if (block.language !== 'sh') return []
    const next = blocks[at + 1]
    const expected = next?.language === 'text' ? next.text.split('\n').filter((line) => line.trim() !== '') : []
    const commands = split(block.text, block.line + 1)
    return commands.map((command, index) => ({
      ...command,
      opensBlock: index === 0,
      expected: index === commands.length - 1 ? expected : [],
    }))
  })
}

/** The files that a page shows. */
export function filesOf(page: string): PageFile[] {
  return fences(page).flatMap(({ language, text }) => {
    const name = language === 'ts' ? /^\/\/ ([a-z][a-z0-9/-]*\.ts)$/m.exec(text.split('\n')[0] ?? '')?.[1] : undefined
    return name === undefined ? [] : [{ name, text: `${text}\n` }]
  })
}

/** Lines are put together until the shell calls them complete: here-documents, quotes, continued lines. */
function split(block: string, firstLine: number): Unplaced[] {
  const found: Unplaced[] = []
  let lines: string[] = []
  let refused = false
  for (const [at, line] of block.split('\n').entries()) {
    if (lines.length === 0 && line.trim() === '') continue
    if (lines.length === 0 && line.startsWith('#')) {
      refused = /\brefused\b/.test(line)
      continue
    }
    lines.push(line)
    if (!isComplete(lines)) continue
    found.push({ line: firstLine + at - lines.length + 1, text: lines.join('\n'), refused })
    lines = []
    refused = false
  }
  if (lines.length > 0) throw new Error(`the block at line ${firstLine} ends inside a command: ${lines.join('\n')}`)
  return found
}

function isComplete(lines: readonly string[]): boolean {
  if (lines.at(-1)?.endsWith('\\')) return false
  const checked = spawnSync('bash', ['-n', '-c', lines.join('\n')], { encoding: 'utf8' })
  return checked.status === 0 && !checked.stderr.includes('here-document')
}
