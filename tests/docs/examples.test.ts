import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { parsePolicy } from '@caracal/core'
import { describe, expect, it } from 'vitest'
import { fences, markdownFiles, ROOT } from './markdown-files.ts'
import { filesOf } from './page-commands.ts'

const pages = markdownFiles()

describe('examples in pages', () => {
  const policies = pages.flatMap(({ path, text }) =>
    fences(text).flatMap(({ language, text: block, line }) => {
      if (language !== 'yaml') return []
      const whole = /^- id: /.test(block) ? `kind: Policy\nname: shown\nrules:\n${block}` : block.replace(/^zone: .*\n/m, '')
      return whole.startsWith('kind: Policy') ? [{ title: `${path}:${line}`, policy: whole }] : []
    }),
  )
  it.each(policies)('the policy at $title parses', ({ policy }) => {
    const parsed = parsePolicy(policy)
    expect(parsed.ok ? '' : parsed.detail).toBe('')
  })

  const withCode = pages.filter(({ text }) => fences(text).some(({ language }) => language === 'ts'))
  it.each(withCode)('[P-158] the TypeScript of $path has no type errors', ({ text }) => {
    const files = filesOf(text)
    expect(files).toHaveLength(fences(text).filter(({ language }) => language === 'ts').length)
    const folder = mkdtempSync(join(tmpdir(), 'caracal-examples-'))
    try {
      symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
      writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
      writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ extends: join(ROOT, 'tsconfig.json'), include: ['**/*.ts'] }))
      for (const file of files) {
        mkdirSync(dirname(join(folder, file.name)), { recursive: true })
        writeFileSync(join(folder, file.name), file.text)
      }
      const checked = spawnSync(join(ROOT, 'node_modules/.bin/tsc'), ['--noEmit', '-p', folder], { encoding: 'utf8' })
      expect(checked.stdout).toBe('')
      expect(checked.status).toBe(0)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
