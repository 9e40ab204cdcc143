import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { describe, expect, test } from 'vitest'
import { program } from '../../apps/cli/src/main.ts'
import { commandsOf } from '../docs/page-commands.ts'
import { ALL, CORE, FOLDER } from './manifests.ts'

const README = readFileSync(join(FOLDER, 'README.md'), 'utf8')
const GUIDE = readFileSync(join(FOLDER, '../../docs/operations/compact.md'), 'utf8')

/** Every command of a page as words; pipes and substitutions in their parts. */
const wordsOf = (page: string) =>
  commandsOf(page.replaceAll(/<[a-z-]+>/g, 'given'))
    .flatMap(({ text }) => text.replaceAll('\\\n', ' ').split(/ \| |\$\(|; | & ?$/))
    .map((part) =>
      part
        .trim()
        .replaceAll(/^[A-Z_]+=/g, '')
        .replaceAll(/\)$/g, '')
        .split(/\s+/),
    )

const all = [...wordsOf(README), ...wordsOf(GUIDE)]
const kubectl = all.filter(([name]) => name === 'kubectl')

describe('commands of infra/kubernetes/README.md and docs/operations/compact.md', () => {
  test('[4-10] what is applied stands in the order of the document, and every file that is named exists', () => {
    const applied = kubectl.filter(([, verb]) => verb === 'apply').map((words) => words.at(-1) ?? '')
    const core = applied.filter((file) => CORE.some((one) => one === file))
    // The namespace comes first, for the Secret with the certificates, and again in its place.
    expect(core).toEqual(['namespace.yaml', ...CORE, 'configmap.yaml'])
    expect(applied.indexOf('tls-secret-generated.yaml')).toBeGreaterThan(applied.indexOf('namespace.yaml'))
    const files = kubectl.flatMap((words) =>
      words.flatMap((word, at) => (['-f', '-k'].includes(word) && words[at + 1] ? [words[at + 1] ?? ''] : [])),
    )
    const made = ['tls-secret-generated.yaml', 'given']
    expect(files.filter((file) => !made.includes(file) && !file.startsWith('-') && !existsSync(join(FOLDER, file)))).toEqual([])
  })

  test('[4-34] everything is removed in reverse, and the page says what is lost with it', () => {
    const deleted = kubectl.filter(([, verb, how]) => verb === 'delete' && how === '-f').map((words) => words.at(-1))
    expect(deleted).toEqual(CORE.toReversed())
    expect(README).toMatch(/database and all its evidence are gone/)
  })

  test('[4-11] every object that is named exists, and every label finds some', () => {
    const kinds: Readonly<Record<string, string>> = { svc: 'Service', deploy: 'Deployment', deployment: 'Deployment', secret: 'Secret' }
    const names = new Set(ALL.map(({ kind, metadata }) => `${kind}/${metadata.name}`)).add('Secret/caracal-tls')
    const named = kubectl.flatMap((words) =>
      words.flatMap((word, at) => {
        const [kind = '', name] = word.split('/')
        if (name !== undefined && kinds[kind] !== undefined) return [`${kinds[kind]}/${name}`]
        return kinds[word] !== undefined && /^caracal-[a-z-]+$/.test(words[at + 1] ?? '') ? [`${kinds[word]}/${words[at + 1]}`] : []
      }),
    )
    expect(named.length).toBeGreaterThan(8)
    expect(named.filter((one) => !names.has(one))).toEqual([])
    const labels = kubectl.flatMap((words) => words.flatMap((word, at) => (word === '-l' ? [(words[at + 1] ?? '').split('=')] : [])))
    for (const [label = '', value] of labels)
      expect(
        ALL.some(({ kind, metadata }) => /Deployment|StatefulSet/.test(kind) && metadata.labels?.[label] === value),
        `${label}=${value}`,
      ).toBe(true)
  })

  test('every command of caracal exists, with the options that are given', () => {
    const called = all
      .filter((words) => words.includes('caracal') && !['kubectl', '-n'].includes(words[0] ?? ''))
      .concat(
        kubectl
          .filter((words) => words.includes('--') && words.includes('caracal') && words[words.indexOf('--') + 1] === 'caracal')
          .map((words) => words.slice(words.indexOf('--') + 1)),
      )
    const ours = called
      .map((words) => words.slice(words.indexOf('caracal') + 1))
      .filter(([first]) => first !== undefined && /^[a-z]+$/.test(first))
    expect(ours.length).toBeGreaterThan(6)
    for (const words of ours) {
      const found = commandAt(program(), words)
      expect(found.commands, words.join(' ')).toEqual([])
      const known = found.options.flatMap(({ long, short }) => [long, short])
      for (const word of words.filter((one) => one.startsWith('-'))) expect(known, words.join(' ')).toContain(word)
    }
  })
})

function commandAt(from: Command, words: readonly string[]): Command {
  const next = from.commands.find((command) => command.name() === words[0])
  return next === undefined ? from : commandAt(next, words.slice(1))
}
