import { execFile } from 'node:child_process'
import { join } from 'node:path'

const SCRIPTS = join(import.meta.dirname, 'load')

/** One run of wrk. Times in microseconds; wrk corrects its percentiles for answers that held up a connection. */
export type Run = {
  readonly requests: number
  readonly seconds: number
  readonly perSecond: number
  /** Connections, reads, writes and timeouts that failed, answers of 400 and more; 1 if there was no answer at all. */
  readonly errors: number
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly p999: number
  /** Processor time that the generator itself used. */
  readonly cpu: number
  /** What the script counted. */
  readonly counts: Readonly<Record<string, number>>
  /** The first refusal, where the script looks at answers. */
  readonly said: string
}

export type Load = {
  readonly url: string
  readonly script: 'steady' | 'paced' | 'api-key' | 'api-key-paced' | 'post' | 'post-paced' | 'mint' | 'call' | 'sessions'
  readonly connections: number
  readonly seconds: number
  readonly headers?: Readonly<Record<string, string>>
  /** For the script: `BENCH_<NAME>`. */
  readonly settings?: Readonly<Record<string, string | number>>
}

const KNOWN = new Set(['requests', 'micros', 'connect', 'read', 'write', 'timeout', 'status', 'cpu', 'p50', 'p90', 'p99', 'p999'])

/** Runs wrk with one thread. Rejects when wrk fails or says nothing; errors of requests are counted, not thrown. */
export function wrk(load: Load): Promise<Run> {
  const headers = Object.entries(load.headers ?? {}).flatMap(([name, value]) => ['-H', `${name}: ${value}`])
  const settings = Object.entries({ ...load.settings, seconds: load.seconds, load: SCRIPTS })
  const args = ['-t1', `-c${load.connections}`, `-d${load.seconds}s`, '--timeout', '10s', ...headers]
  return new Promise((resolve, reject) => {
    execFile(
      'wrk',
      [...args, '-s', join(SCRIPTS, `${load.script}.lua`), load.url],
      {
        env: {
          PATH: process.env.PATH,
          ...Object.fromEntries(settings.map(([name, value]) => [`BENCH_${name.toUpperCase()}`, String(value)])),
        },
      },
      (error, stdout, stderr) => {
        const line = /^BENCH (\{.*\})$/m.exec(stdout)?.[1]
        if (line === undefined)
          reject(new Error(`wrk ${load.script} ${load.url}: ${error?.signal ?? ''} ${stderr}${stdout}`, { cause: error }))
        else resolve(runOf(JSON.parse(line) as Record<string, number>, stderr))
      },
    )
  })
}

function runOf(figures: Readonly<Record<string, number>>, said: string): Run {
  const number = (name: string) => figures[name] ?? 0
  const seconds = number('micros') / 1_000_000
  return {
    requests: number('requests'),
    seconds,
    perSecond: number('requests') / seconds,
    // Nothing at all is a failure, too.
    errors:
      (number('requests') === 0 ? 1 : 0) + number('connect') + number('read') + number('write') + number('timeout') + number('status'),
    p50: number('p50'),
    p90: number('p90'),
    p99: number('p99'),
    p999: number('p999'),
    cpu: number('cpu'),
    counts: Object.fromEntries(Object.entries(figures).filter(([name]) => !KNOWN.has(name))),
    said: said.trim(),
  }
}
