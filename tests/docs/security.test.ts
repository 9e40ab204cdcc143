import { existsSync, readFileSync } from 'node:fs'
import { join, normalize } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ROOT } from './markdown-files.ts'

const page = readFileSync(join(ROOT, 'docs/security.md'), 'utf8')

/** `[test](path) "words of its title"`, also over a line break. */
const named = [...page.matchAll(/\[test\]\(([^)]+)\)(?:\s+"([^"]+)")?/g)].map(([, link = '', title]) => ({
  path: normalize(join('docs', link)),
  title,
}))

describe('docs/security.md', () => {
  it.each(named)('$path: $title', ({ path, title }) => {
    expect(existsSync(join(ROOT, path)), path).toBe(true)
    expect(title, 'a test is named by words of its title').toBeDefined()
    expect(readFileSync(join(ROOT, path), 'utf8')).toContain(title)
  })

  it('every promise names a test', () => {
    const promises = page.slice(page.indexOf('## What is promised'), page.indexOf('## A call in flight'))
    const rows = promises.split('\n').filter((line) => line.startsWith('| ') && !line.startsWith('| Promise'))
    expect(rows.length).toBeGreaterThan(20)
    expect(rows.filter((row) => !row.includes('[test]('))).toEqual([])
  })

  it('what is fired at by `make test` is all of tests/fuzz/targets', () => {
    const index = readFileSync(join(ROOT, 'tests/fuzz/targets/index.ts'), 'utf8')
    const files = named.map(({ path }) => path).filter((path) => path.startsWith('tests/fuzz/targets/'))
    for (const path of files) expect(index).toContain(path.replace('tests/fuzz/targets', '.'))
  })
})
