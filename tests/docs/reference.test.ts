import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { PAGES, stalePages } from '../../docs/reference/generate.ts'
import { ROOT } from './markdown-files.ts'

it('[P-128] [P-158] the reference pages are what the code says (else `make reference`)', async () => {
  expect(Object.keys(await stalePages())).toEqual([])
}, 60_000)

it('every page of the reference is generated', () => {
  const written = readdirSync(join(ROOT, 'docs/reference')).filter((name) => name.endsWith('.md'))
  expect(written.sort()).toEqual(Object.keys(PAGES).sort())
})
