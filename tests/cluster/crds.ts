import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

import { run, tool } from './processes.ts'

/** The real definitions of the operators that the chart's objects are for, from the modules of their programs. */
const SOURCES = [
  { module: 'github.com/external-secrets/external-secrets', version: 'v1.3.2', folder: 'config/crds/bases' },
  { module: 'github.com/cert-manager/cert-manager', version: 'v1.21.2', folder: 'deploy/crds' },
  { module: 'github.com/prometheus-operator/prometheus-operator', version: 'v0.85.0', folder: 'example/prometheus-operator-crd' },
]

/** Only what the chart's objects are of: the others would be seconds of every start. */
const WANTED =
  /_(externalsecrets|secretstores|clustersecretstores|certificates|issuers|clusterissuers|servicemonitors|podmonitors|prometheusrules|generatorstates)\.yaml$/

/** Downloads the modules once, outside the work tree; what is there is taken. */
function fetched(source: (typeof SOURCES)[number]): readonly string[] {
  const cache = join(process.env.XDG_CACHE_HOME ?? join(process.env.HOME ?? '/root', '.cache'), 'caracal/crds')
  const into = join(cache, `${source.module.split('/')[1]}-${source.version}`)
  if (!existsSync(into)) {
    mkdirSync(cache, { recursive: true })
    const proxy = (process.env.GOPROXY ?? 'https://proxy.golang.org').split(/[,|]/)[0]
    const part = execFileSync('mktemp', ['-d', `${into}.XXXXXX`], { encoding: 'utf8' }).trim()
    execFileSync('curl', ['-fsSL', '-o', join(part, 'module.zip'), `${proxy}/${source.module}/@v/${source.version}.zip`])
    const inZip = `${source.module}@${source.version}/${source.folder}/*`
    execFileSync('unzip', ['-q', '-j', join(part, 'module.zip'), inZip, '-d', join(part, 'crds')])
    execFileSync('mv', [join(part, 'crds'), into])
    execFileSync('rm', ['-rf', part])
  }
  return readdirSync(into)
    .filter((file) => WANTED.test(file))
    .map((file) => join(into, file))
}

export function applyCrds(server?: string): void {
  const files = SOURCES.flatMap(fetched)
  const to = server === undefined ? [] : ['--server', server]
  run([tool('kubectl'), ...to, 'apply', '--server-side', ...files.flatMap((file) => ['-f', file])])
  run([tool('kubectl'), ...to, 'wait', '--for=condition=Established', '--timeout=60s', ...files.flatMap((file) => ['-f', file])])
}
