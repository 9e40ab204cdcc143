import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Bench } from './bench.ts'
import type { Figure } from './figure.ts'
import { startInstallation } from './installation.ts'
import { describeMachine, versions } from './machine.ts'
import { markdown, processorTable, type Results, table } from './report.ts'
import { measureRevocation } from './revocation.ts'
import { addedLatency } from './scenarios/added-latency.ts'
import { compact } from './scenarios/compact.ts'
import { decisions } from './scenarios/decisions.ts'
import { governedCalls } from './scenarios/governed-call.ts'
import { headline } from './scenarios/headline.ts'
import { ingest } from './scenarios/ingest.ts'
import { mcp } from './scenarios/mcp.ts'
import { mints } from './scenarios/mints.ts'
import { secondProcess } from './scenarios/second-process.ts'
import { sessions } from './scenarios/sessions.ts'
import { soak } from './scenarios/soak.ts'
import { start } from './scenarios/start.ts'
import { steadyState } from './scenarios/steady-state.ts'
import { verifyAndInject } from './scenarios/verify-and-inject.ts'
import { fillZone } from './zone.ts'

/** Scenarios on a running installation, in the order of the report. */
const WITH_INSTALLATION: Readonly<Record<string, (bench: Bench) => Promise<Figure[]>>> = {
  calls: governedCalls,
  latency: addedLatency,
  headline,
  verify: verifyAndInject,
  mints,
  stores: steadyState,
  second: secondProcess,
  sessions,
  mcp,
  start: (bench) => start({ ...bench, zones: options.smoke ? 20 : 1_000 }),
  soak: (bench) => soak({ ...bench, minutes: minutesOf() }),
}
/** Runs only when it is asked for: it takes its minutes. */
const ASKED_ONLY: ReadonlySet<string> = new Set(['soak'])
/** Scenarios that start what they need themselves. */
const ALONE: Readonly<Record<string, (profile: Profile) => Promise<Figure[]>>> = {
  decisions,
  ingest,
  revocation: measureRevocation,
  compact,
}

type Profile = Pick<Bench, 'seconds' | 'long' | 'turns' | 'warm'> & { readonly stored: number; readonly rounds: number }

const USAGE = `node bench/run.ts [options]
  --only name,name  these scenarios: ${[...Object.keys(WITH_INSTALLATION), ...Object.keys(ALONE)].join(', ')}
  --seconds n       seconds of one measurement (10; the headline takes 60 unless this is given)
  --minutes n       how long the scenario soak lasts, which runs only when it is named (8)
  --long            10,000,000 stored events instead of 2,000,000
  --smoke           one second each, to see that everything runs without errors; writes no results
  --verbose         processor time per request of every process, and latencies
  --json            the content of bench/results.json instead of the table
  --markdown        the table of docs/benchmarks.md instead`

const { values: options } = parseArgs({
  options: {
    only: { type: 'string' },
    seconds: { type: 'string' },
    minutes: { type: 'string' },
    smoke: { type: 'boolean', default: false },
    long: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    markdown: { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

const print = (text: string) => void process.stdout.write(`${text}\n`)
const tell = (text: string) => void process.stderr.write(`${text}\n`)

// Debian keeps HAProxy where only root looks.
process.env.PATH = `${process.env.PATH}:/usr/sbin`

if (options.help) print(USAGE)
else if (process.platform !== 'linux') {
  tell('The benchmarks read processor time from /proc and hand mandates on through Linux pipes: run them on Linux.')
  process.exitCode = 1
} else process.exitCode = await run()

/** 0 when every figure is there and nothing failed; figures below their target are reported, not punished. */
async function run(): Promise<number> {
  const all = [...Object.keys(WITH_INSTALLATION), ...Object.keys(ALONE)]
  const only = options.only?.split(',') ?? all.filter((name) => !ASKED_ONLY.has(name))
  const unknown = only.filter((name) => !all.includes(name))
  if (unknown.length > 0) {
    tell(`There is no scenario ${unknown.join(', ')}.\n${USAGE}`)
    return 2
  }
  const asked = all.filter((name) => only.includes(name))
  const profile = profileOf()
  const at = new Date().toISOString()
  const figures: Figure[] = []
  const held: { memory: Readonly<Record<string, number>> } = { memory: {} }
  let failed = 0
  const measure = async (name: string, scenario: () => Promise<Figure[]>) => {
    tell(`${name} …`)
    try {
      figures.push(...(await scenario()))
    } catch (error) {
      failed += 1
      tell(`${name} failed: ${error instanceof Error ? error.stack : String(error)}`)
    }
  }

  const governed = asked.filter((name) => name in WITH_INSTALLATION)
  if (governed.length > 0) {
    tell('starting Postgres, Redis and the five services')
    const installation = await startInstallation()
    // Whoever interrupts leaves no servers behind.
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void installation.stop().finally(() => process.exit(1)))
    try {
      const bench: Bench = { installation, zone: await fillZone(installation), ...profile }
      for (const name of governed) await measure(name, () => (WITH_INSTALLATION[name] as (bench: Bench) => Promise<Figure[]>)(bench))
      held.memory = installation.memory()
      if (failed > 0 || figures.some(({ errors }) => errors > 0)) tell(installation.said())
    } finally {
      await installation.stop()
    }
  }
  for (const name of asked.filter((one) => one in ALONE)) {
    await measure(name, () => (ALONE[name] as (profile: Profile) => Promise<Figure[]>)(profile))
  }

  const results: Results = {
    machine: describeMachine(),
    versions: versions(),
    at,
    run: {
      flags: [...process.execArgv, ...process.argv.slice(2)],
      secondsOfOneMeasurement: profile.seconds,
      turns: profile.turns,
      generator: 'wrk, one thread per load, on the same machine, over loopback',
      loops: 'closed (the next request when the last was answered); added latency open (by a timetable)',
    },
    memory: held.memory,
    figures,
  }
  // A smoke run shows that everything runs; its figures mean nothing.
  if (!options.smoke) writeFileSync(join(import.meta.dirname, 'results.json'), `${JSON.stringify(results, null, 2)}\n`)
  if (options.json) print(JSON.stringify(results))
  else if (options.markdown) print(markdown(results))
  else {
    print(table(results))
    if (options.verbose) print(processorTable(figures))
  }
  const spoiled = figures.filter(({ errors }) => errors > 0)
  for (const { name, errors } of spoiled) tell(`${errors} errors: ${name}`)
  return failed > 0 || spoiled.length > 0 ? 1 : 0
}

function minutesOf(): number {
  const minutes = options.smoke ? 0.1 : Number(options.minutes ?? 8)
  if (!(minutes > 0)) throw new Error('--minutes takes a number above 0')
  return minutes
}

function profileOf(): Profile {
  const stored = options.long ? 10_000_000 : 2_000_000
  if (options.smoke) return { seconds: 1, long: 1, turns: 1, warm: 1, stored: 20_000, rounds: 1 }
  const seconds = Number(options.seconds ?? 10)
  if (!Number.isInteger(seconds) || seconds < 1) throw new Error('--seconds takes a whole number above 0')
  return { seconds, long: options.seconds === undefined ? 60 : seconds, turns: 3, warm: Math.min(5, seconds), stored, rounds: 30 }
}
