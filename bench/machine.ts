import { execFileSync } from 'node:child_process'
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs'
import { cpus, release, tmpdir, totalmem, type } from 'node:os'
import { join } from 'node:path'
import { postgresBinaries } from '@caracal/harness'
import { median } from './figure.ts'

export type Machine = {
  readonly cpu: string
  readonly cores: number
  readonly memoryGiB: number
  readonly system: string
  /** Milliseconds that 4 KiB take to the disk of the spools and of Postgres: the median of 50. */
  readonly diskSyncMs: number
  /** The temporary folder is memory: nothing there is durable, and the figures say less. */
  readonly diskIsMemory: boolean
}

/** What the figures were taken on; nothing that names the machine. */
export function describeMachine(): Machine {
  const all = cpus()
  return {
    cpu: all[0]?.model.trim() ?? 'unknown',
    cores: all.length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release().split('-')[0]}`,
    diskSyncMs: diskSync(),
    diskIsMemory: statfsSync(tmpdir()).type === TMPFS,
  }
}

/** statfs(2): TMPFS_MAGIC. */
const TMPFS = 0x01021994

function diskSync(): number {
  const folder = mkdtempSync(join(tmpdir(), 'caracal-bench-'))
  const file = openSync(join(folder, 'sync'), 'w')
  const block = Buffer.alloc(4_096, 1)
  const times = Array.from({ length: 50 }, () => {
    const began = performance.now()
    writeSync(file, block)
    fdatasyncSync(file)
    return performance.now() - began
  })
  closeSync(file)
  rmSync(folder, { recursive: true })
  return Math.round(median(times) * 1_000) / 1_000
}

/** Versions of everything that takes part. */
export function versions(): Readonly<Record<string, string>> {
  return {
    node: process.version,
    postgres: said(join(postgresBinaries(), 'postgres'), ['--version'], /([\d.]+)/),
    redis: said('redis-server', ['--version'], /v=([\d.]+)/),
    haproxy: said('haproxy', ['-v'], /version ([\d.]+)/),
    wrk: said('wrk', ['-v'], /wrk (\S+)/),
  }
}

/** wrk prints its version and ends with 1, so what is said counts and not the code. */
function said(program: string, args: readonly string[], pattern: RegExp): string {
  let text = ''
  try {
    text = execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  } catch (error) {
    text = String((error as { stdout?: unknown }).stdout ?? '')
  }
  return pattern.exec(text)?.[1] ?? 'unknown'
}
