import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { ROOT } from './markdown-files.ts'

type Manifest = { readonly dependencies?: Record<string, string>; readonly devDependencies?: Record<string, string> }

const rooms = ['apps', 'packages', 'examples'].flatMap((kind) => readdirSync(join(ROOT, kind)).map((name) => join(kind, name)))
const direct = ['.', 'tests/harness', 'tests/mcp', ...rooms].flatMap((room) => {
  const manifest = readManifest(join(ROOT, room, 'package.json'))
  return Object.entries({ ...manifest.dependencies, ...manifest.devDependencies })
})

it('every direct dependency stands in docs/dependencies.md with the version that is pinned', () => {
  const text = readFileSync(join(ROOT, 'docs/dependencies.md'), 'utf8')
  const missing = new Set(
    direct
      .filter(([name]) => !name.startsWith('@caracal/'))
      .map(([name, version]) => `\`${name}\` ${version}`)
      .filter((words) => !text.includes(words)),
  )
  expect([...missing]).toEqual([])
})

it('every direct dependency is pinned to one version', () => {
  expect(direct.filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([])
})

function readManifest(path: string): Manifest {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Manifest
  } catch {
    return {}
  }
}
