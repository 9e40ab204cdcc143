import { execFile, execFileSync } from 'node:child_process'
import { join } from 'node:path'

/** What the Go program checks; see main.go. */
export type Checked = {
  readonly origin: string
  readonly key: string
  readonly note: string
  readonly older?: string
  readonly consistency?: readonly string[]
  readonly records?: readonly { readonly index: number; readonly event: string; readonly proof: readonly string[] }[]
  readonly bundle?: string
  readonly log?: string
  readonly token?: string
}

export type Verdict = {
  readonly ok: boolean
  readonly refused?: string
  readonly size?: number
  readonly root?: string
  readonly records: number
  readonly bundle?: number
  readonly entries?: number
}

/** Builds the foreign checker unless it stands, and gives the function that asks it. Its verdict and its exit code must agree. */
export function foreignChecker(): (request: Checked) => Promise<Verdict> {
  const program = execFileSync(join(import.meta.dirname, 'build.sh'), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }).trim()
  return (request) =>
    new Promise((resolve, reject) => {
      const child = execFile(program, { maxBuffer: 1 << 20 }, (error, stdout, stderr) => {
        if (error !== null && error.code !== 1) return reject(new Error(`the checker ended with ${error.code}: ${stderr}`))
        const verdict = JSON.parse(stdout) as Verdict
        if (verdict.ok !== (error === null)) return reject(new Error(`the checker contradicts itself: ${stdout}`))
        resolve(verdict)
      })
      child.stdin?.on('error', reject).end(JSON.stringify(request))
    })
}
