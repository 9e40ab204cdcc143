import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, normalize } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ROOT } from './markdown-files.ts'

const page = readFileSync(join(ROOT, 'docs/faults.md'), 'utf8')
const rows = page.split('\n').filter((line) => line.startsWith('| ') && !line.startsWith('| Fault'))

describe('docs/faults.md [P-146]', () => {
  it.each(rows.map((row) => ({ fault: row.split('|')[1]?.trim() ?? '', row })))('$fault: has a test that stands', ({ row }) => {
    const [, link = '', title = ''] = /\[test\]\(([^)]+)\) "([^"]+)"/.exec(row) ?? []
    const path = normalize(join('docs', link))
    expect(path).toMatch(/^tests\/chaos\/.*\.test\.ts$/)
    expect(existsSync(join(ROOT, path)), path).toBe(true)
    expect(readFileSync(join(ROOT, path), 'utf8')).toContain(title)
  })

  it('names every fault that must have one behaviour', () => {
    for (const fault of ['Postgres', 'Redis', 'STS', 'Audit', 'Coordinator', 'full disk', 'clock']) {
      expect(
        rows.some((row) => row.split('|')[1]?.includes(fault)),
        fault,
      ).toBe(true)
    }
  })

  it('says of every fault who refuses, what goes on, what /ready says and how it comes back', () => {
    for (const row of rows) {
      const cells = row.split(/(?<!\\)\|/).slice(1, -1)
      expect(cells, row).toHaveLength(6)
      expect(
        cells.filter((cell) => cell.trim() === ''),
        row,
      ).toEqual([])
    }
  })

  it('every code that it names is in the catalogue', () => {
    const catalogue = readFileSync(join(ROOT, 'packages/core/src/reason.ts'), 'utf8')
    const codes = [...page.matchAll(/`([a-z]+(?:_[a-z]+)+)`/g)].map(([, code = '']) => code)
    expect(codes.length).toBeGreaterThan(10)
    for (const code of codes) expect(catalogue).toContain(`${code}:`)
  })

  it('no chaos test of a fault stands without its row', () => {
    const files = readdirSync(join(ROOT, 'tests/chaos')).filter((name) =>
      /(?:-away|^kill|^lost-|^replicas|^sigterm)[^/]*\.test\.ts$/.test(name),
    )
    for (const file of files) expect(page).toContain(`tests/chaos/${file}`)
  })
})
