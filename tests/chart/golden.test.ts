import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { type Asked, type KubeObject, objectsOf, render, renderedText, template } from './helm.ts'
import { PRODUCTION, PROFILES } from './profiles.ts'
import { textAt } from './tree.ts'

/**
 * What each profile renders to, held in golden/: one line per object with a digest, so that a change of the chart shows in review which
 * objects of which profile it touches. `make chart-golden` writes them again.
 */
const golden = (name: string) => join(import.meta.dirname, 'golden', name)

const VARIANTS: Readonly<Record<string, Pick<Asked, 'release' | 'set'>>> = {
  'release caracal, replay volumes': { release: 'caracal', set: { 'replayPersistence.enabled': 'true' } },
  'release caracal, no replay volumes': { release: 'caracal', set: { 'replayPersistence.enabled': 'false' } },
  'release x, replay volumes': { release: 'x', set: { 'replayPersistence.enabled': 'true' } },
  'release x, no replay volumes': { release: 'x', set: { 'replayPersistence.enabled': 'false' } },
}

function line(object: KubeObject): string {
  const digest = createHash('sha256')
    .update(stringify(object, { sortMapEntries: true }))
    .digest('hex')
    .slice(0, 16)
  return `${object.kind}/${textAt(object, 'metadata.name')} ${digest}`
}

describe.each(Object.entries(PROFILES))('%s', (name, asked) => {
  test('renders what is held, release by release, with and without replay volumes', async () => {
    const parts: string[] = []
    for (const [variant, change] of Object.entries(VARIANTS)) {
      const whole = { ...asked, ...change, set: { ...asked.set, ...change.set } }
      const { code, stdout, stderr } = await template(whole)
      // Evidence that dies with its pod is refused in stable: then the refusal is what is held.
      const lines = code === 0 ? objectsOf(stdout).map(line).toSorted() : ['refused', ...refusals(stderr)]
      parts.push(`# ${variant}`, ...lines, '')
    }
    await expect(parts.join('\n')).toMatchFileSnapshot(golden(`${name}.txt`))
  })

  test('renders the same with Helm 3 as with Helm 4', async () => {
    for (const release of ['caracal', 'x']) {
      const three = await render({ ...asked, release, helm: 'helm3' })
      const four = await render({ ...asked, release, helm: 'helm4' })
      expect(three.all.map(line).toSorted()).toEqual(four.all.map(line).toSorted())
    }
  })
})

test('[0-20] production renders as held, to the letter', async () => {
  await expect(await renderedText(PRODUCTION)).toMatchFileSnapshot(golden('production.full.txt'))
})

function refusals(stderr: string): readonly string[] {
  return stderr.split('\n').flatMap((text) => (text.startsWith('  - ') ? [text.trim()] : []))
}
