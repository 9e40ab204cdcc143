import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'

declare module 'vitest' {
  interface ProvidedContext {
    evidenceCount: string
  }
}

/** What one scenario found: effects that were seen from outside, and those of them that the ledger holds. */
export type EvidenceCount = { readonly effects: number; readonly evidence: number }

/** Sums over all scenarios and closes the run with one line; anything lost makes the run fail. */
export default function setup(project: TestProject): () => void {
  const folder = mkdtempSync(join(tmpdir(), 'caracal-count-'))
  const file = join(folder, 'counts')
  project.provide('evidenceCount', file)
  return () => {
    const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean) : []
    rmSync(folder, { recursive: true, force: true })
    const counts = lines.map((line) => JSON.parse(line) as EvidenceCount)
    const sum = (of: keyof EvidenceCount) => counts.reduce((total, count) => total + count[of], 0)
    const [effects, evidence] = [sum('effects'), sum('evidence')]
    process.stdout.write(`effects ${effects}, evidence ${evidence}, lost ${effects - evidence}\n`)
    if (effects !== evidence) process.exitCode = 1
  }
}
