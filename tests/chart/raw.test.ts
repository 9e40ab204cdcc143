import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, inject, test } from 'vitest'
import { parse } from 'yaml'
import { CORE, FOLDER, OPTIONAL } from '../manifests/manifests.ts'
import { run } from './helm.ts'
import { schemaLocation } from './json-schemas.ts'
import { at, listAt } from './tree.ts'

/** The plain manifests: what is applied in the document's order stays on the fields of Kubernetes 1.20. */
const OLDEST = 'v1.20.0'
const NEWEST = 'v1.35.4'

async function faults(text: string, kubernetes: string): Promise<{ readonly count: number; readonly faults: readonly unknown[] }> {
  const args = ['-strict', '-verbose', '-output', 'json', '-kubernetes-version', kubernetes.slice(1)]
  const { stdout, stderr } = await run(inject('kubeconform'), [...args, '-schema-location', schemaLocation(kubernetes), '-'], text)
  if (stdout === '') throw new Error(stderr)
  const resources = listAt(JSON.parse(stdout), 'resources')
  return { count: resources.length, faults: resources.filter((resource) => at(resource, 'status') !== 'statusValid') }
}

const text = (file: string) => readFileSync(join(FOLDER, file), 'utf8')

describe('infra/kubernetes', () => {
  const folder = mkdtempSync(join(tmpdir(), 'caracal-raw-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  test.each(CORE)('[4-05] Kubernetes 1.20 takes every object of %s, strictly', async (file) => {
    const found = await faults(text(file), OLDEST)
    expect(found.faults).toEqual([])
    expect(found.count).toBeGreaterThan(0)
  })

  test.each([...CORE, ...OPTIONAL, 'tls-secret.example.yaml'])('the newest Kubernetes takes every object of %s, strictly', async (file) => {
    expect((await faults(text(file), NEWEST)).faults).toEqual([])
  })

  test('[4-21] the storage class that the document adds is a field of the claim', async () => {
    const named = text('postgres-statefulset.yaml').replace(
      '# storageClassName: your-storage-class',
      'storageClassName: your-storage-class',
    )
    const objects = named.split('\n---\n')
    expect(at(parse(objects.at(-1) ?? ''), 'spec.volumeClaimTemplates.0.spec.storageClassName')).toBe('your-storage-class')
    for (const version of [OLDEST, NEWEST]) expect((await faults(named, version)).faults).toEqual([])
  })

  test('[4-37] promtool takes the rules', async () => {
    const file = join(folder, 'rules.json')
    writeFileSync(file, JSON.stringify(at(parse(text('prometheusrule.yaml')), 'spec')))
    const ran = await run('promtool', ['check', 'rules', file])
    expect([ran.code, ran.stdout]).toEqual([0, expect.stringMatching(/\d\d rules found/)])
  })
})
