import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'

declare module 'vitest' {
  interface ProvidedContext {
    helm4: string
    helm3: string
    kubeconform: string
  }
}

/** Builds the programs that the chart is tested with, once per version, outside the work tree. */
export default function setup(project: TestProject): void {
  const root = join(import.meta.dirname, '..', '..')
  const run = (program: string, ...args: string[]) =>
    execFileSync(join(root, program), args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
  run('tests/chart/install-promtool.sh')
  const [helm4, helm3, kubeconform] = run('infra/tools/build.sh', 'helm-4', 'helm-3', 'kubeconform').trim().split('\n')
  if (helm4 === undefined || helm3 === undefined || kubeconform === undefined) throw new Error('a tool was not built')
  project.provide('helm4', helm4)
  project.provide('helm3', helm3)
  project.provide('kubeconform', kubeconform)
}
