import { existsSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import { describe, expect, it } from 'vitest'
import { markdownFiles, prose, ROOT } from './markdown-files.ts'

const files = markdownFiles()

describe('links', () => {
  it.each(files)('$path: every relative link leads to a file and every anchor to a heading', ({ path, text }) => {
    const broken = linksOf(text).filter((link) => !leadsSomewhere(path, link))
    expect(broken).toEqual([])
  })

  it('every page under docs can be reached from the README', () => {
    const seen = new Set(['README.md'])
    for (const path of seen) {
      const text = readFileSync(join(ROOT, path), 'utf8')
      for (const link of linksOf(text)) {
        const target = targetOf(path, link)
        if (target.endsWith('.md')) seen.add(target)
        else if (existsSync(join(ROOT, target, 'README.md'))) seen.add(join(target, 'README.md'))
      }
    }
    expect(files.map(({ path }) => path).filter((path) => path.startsWith('docs/') && !seen.has(path))).toEqual([])
  })
})

/** Targets of links and pictures that stay in the repository. */
function linksOf(text: string): string[] {
  const withoutCode = prose(text).replaceAll(/`[^`\n]*`/g, '')
  return [...withoutCode.matchAll(/\]\(([^)\s]+)\)/g)].map((found) => found[1] ?? '').filter((link) => !/^[a-z][a-z0-9+.-]*:/.test(link))
}

function targetOf(from: string, link: string): string {
  const [file = ''] = link.split('#')
  return file === '' ? from : relative('.', normalize(join(dirname(from), file)))
}

function leadsSomewhere(from: string, link: string): boolean {
  const target = join(ROOT, targetOf(from, link))
  if (!existsSync(target)) return false
  const anchor = link.split('#')[1]
  if (anchor === undefined) return true
  return statSync(target).isFile() && anchorsOf(readFileSync(target, 'utf8')).has(anchor)
}

/** Anchors as GitHub makes them from headings, and explicit ones. */
function anchorsOf(text: string): Set<string> {
  const headings = [...prose(text).matchAll(/^#{1,6} (.+)$/gm)].map((found) => slug(found[1] ?? ''))
  const explicit = [...text.matchAll(/<a id="([^"]+)">/g)].map((found) => found[1] ?? '')
  return new Set([...headings, ...explicit])
}

function slug(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .trim()
    .replaceAll(/\s/g, '-')
}
