import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'

/** Root of the repository. */
export const ROOT = join(import.meta.dirname, '../..')

/** A Markdown file by its path from the root. */
export type MarkdownFile = { readonly path: string; readonly text: string }

const NOT_OURS = new Set(['node_modules', '.git', '.caracal', 'dist'])

/** Every Markdown file of the repository, by path. */
export function markdownFiles(folder = ROOT): MarkdownFile[] {
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(folder, entry.name)
      if (entry.isDirectory()) return NOT_OURS.has(entry.name) ? [] : markdownFiles(path)
      return entry.name.endsWith('.md') ? [{ path: relative(ROOT, path), text: readFileSync(path, 'utf8') }] : []
    })
    .sort((a, b) => (a.path < b.path ? -1 : 1))
}

/** A fenced block: its language and text, and the line it begins on, from 1. */
export type Fence = { readonly language: string; readonly text: string; readonly line: number }

/** The fenced blocks of a page, in order. */
export function fences(text: string): Fence[] {
  const found: Fence[] = []
  let open: { language: string; line: number; indent: number; lines: string[] } | undefined
  for (const [at, line] of text.split('\n').entries()) {
    const mark = /^(\s*)```(\S*)\s*$/.exec(line)
    if (mark === null) open?.lines.push(line.slice(open.indent))
    else if (open === undefined) open = { language: mark[2] ?? '', line: at + 1, indent: (mark[1] ?? '').length, lines: [] }
    else {
      found.push({ language: open.language, text: open.lines.join('\n'), line: open.line })
      open = undefined
    }
  }
  return found
}

/** The page without its fenced blocks. */
export function prose(text: string): string {
  let inside = false
  const lines = text.split('\n').map((line) => {
    if (/^\s*```/.test(line)) {
      inside = !inside
      return ''
    }
    return inside ? '' : line
  })
  return lines.join('\n')
}
