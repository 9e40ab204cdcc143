import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ROOT } from './markdown-files.ts'

/** From the top of the house to its ground: a package imports only what stands further right. */
const PACKAGES = ['sdk', 'enforcement-point', 'enforcement', 'service', 'streams', 'postgres', 'ledger', 'core']
/** May import other apps: it starts them. */
const STARTER = 'cli'
/** What only tests import. */
const HARNESS = 'harness'

type SourceFile = { readonly path: string; readonly room: string; readonly text: string; readonly isTest: boolean }

const sources = ['apps', 'packages'].flatMap((kind) => readdirSync(join(ROOT, kind)).flatMap((name) => sourcesOf(kind, name)))
const apps = readdirSync(join(ROOT, 'apps'))

describe('the house', () => {
  it('an app imports no other app, except the one that starts them', () => {
    expect(offences(({ room }, name) => apps.includes(room) && room !== STARTER && apps.includes(name) && name !== room)).toEqual([])
  })

  it('a package imports only packages below it', () => {
    expect(offences(({ room }, name) => PACKAGES.includes(room) && PACKAGES.indexOf(name) < PACKAGES.indexOf(room))).toEqual([])
  })

  it('across rooms there is only the front door: no import leaves its room by a path', () => {
    const found = sources.flatMap((source) =>
      importsOf(source.text)
        .filter((name) => name.startsWith('.') && roomOf(relative(ROOT, join(ROOT, source.path, '..', name))) !== roomOf(source.path))
        .map((name) => `${source.path} imports ${name}`),
    )
    expect(found).toEqual([])
  })

  it('what a room imports stands in its package.json', () => {
    const found = sources
      .filter((source) => !source.isTest)
      .flatMap((source) => {
        const declared = dependenciesOf(roomOf(source.path))
        return importsOf(source.text)
          .filter((name) => !/^(?:\.|node:)/.test(name))
          .map(packageName)
          .filter((name) => !declared.has(name))
          .map((name) => `${source.path} imports ${name}`)
      })
    expect(found).toEqual([])
  })

  it.each(['core', 'ledger'])('%s is pure: no network, file, process, database or timer', (room) => {
    const own = sources.filter((source) => source.room === room && !source.isTest)
    const imports = own.flatMap(({ path, text }) =>
      importsOf(text)
        .filter((name) => name.startsWith('node:') && name !== 'node:crypto')
        .map((name) => `${path} imports ${name}`),
    )
    const globals = own.flatMap(({ path, text }) =>
      [...withoutComments(text).matchAll(/\b(?:process\.|fetch\(|setTimeout\(|setInterval\(|performance\.|Math\.random)/g)].map(
        (found) => `${path} uses ${found[0]}`,
      ),
    )
    expect([...imports, ...globals]).toEqual([])
  })

  it('core and ledger read a clock nowhere but as the default of an argument', () => {
    const found = sources
      .filter(({ room, isTest }) => (room === 'core' || room === 'ledger') && !isTest)
      .flatMap(({ path, text }) =>
        [...withoutComments(text).matchAll(/(= )?(?:Date\.now\(\)|new Date\(\))/g)]
          .filter((use) => use[1] === undefined)
          .map((use) => `${path}: ${use[0]}`),
      )
    expect(found).toEqual([])
  })

  it('a file has one subject and its name says it', () => {
    const names = /\/(?:utils?|helpers?|managers?|common|types|misc)\.ts$/
    expect(sources.map(({ path }) => path).filter((path) => names.test(path))).toEqual([])
  })
})

function sourcesOf(kind: string, name: string): SourceFile[] {
  const source = join(ROOT, kind, name, 'src')
  if (!existsSync(source)) return []
  return readdirSync(source, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => {
      const path = join(kind, name, 'src', file)
      const isTest = /\.(?:test|fixture)\.ts$|(?:^|\/)(?:test-support|conformance)\/|both-databases\.ts$|sample-[a-z]+\.ts$/.test(path)
      return { path, room: name, text: readFileSync(join(ROOT, path), 'utf8'), isTest }
    })
}

function offences(isWrong: (source: SourceFile, imported: string) => boolean): string[] {
  return sources.flatMap((source) =>
    importsOf(source.text)
      .filter((name) => name.startsWith('@caracal/'))
      .map((name) => name.slice('@caracal/'.length))
      .filter((name) => name !== HARNESS || !source.isTest)
      .filter((name) => name === HARNESS || isWrong(source, name))
      .map((name) => `${source.path} imports ${name}`),
  )
}

/** Specifiers of static imports, re-exports and dynamic imports of a literal. */
function importsOf(text: string): string[] {
  return [...withoutComments(text).matchAll(/(?:\bfrom |\bimport |\bimport\()'([^']+)'/g)].map((found) => found[1] ?? '')
}

function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/(^|\s)\/\/.*$/gm, '$1')
}

function roomOf(path: string): string {
  return path.split('/').slice(0, 2).join('/')
}

function packageName(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}

function dependenciesOf(room: string): ReadonlySet<string> {
  const { dependencies = {} } = JSON.parse(readFileSync(join(ROOT, room, 'package.json'), 'utf8')) as {
    dependencies?: Record<string, string>
  }
  return new Set(Object.keys(dependencies))
}
