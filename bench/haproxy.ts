import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from '@caracal/harness'
import { type Server, started, untilListens } from './server.ts'

/** HAProxy with one thread and this frontend, on loopback; resolves when it listens. `lines` are those of its frontend and what follows. */
export async function startHaproxy(
  folder: string,
  name: string,
  lines: readonly string[],
  globals: readonly string[] = [],
): Promise<Server> {
  const port = await freePort()
  const file = join(folder, `${name}.cfg`)
  const text = [
    'global',
    '  nbthread 1',
    '  maxconn 4096',
    ...globals,
    'defaults',
    '  mode http',
    '  timeout connect 5s',
    '  timeout client 60s',
    '  timeout server 60s',
    'frontend incoming',
    `  bind 127.0.0.1:${port}`,
    ...lines,
    '',
  ]
  writeFileSync(file, text.join('\n'))
  const child = spawn('haproxy', ['-db', '-f', file], { stdio: ['ignore', 'pipe', 'pipe'] })
  return untilListens(started(child, port, name))
}

/** An upstream that costs next to nothing: HAProxy answers every request itself with 1 KB. */
export function startUpstream(folder: string): Promise<Server> {
  return startHaproxy(folder, 'upstream', [
    `  http-request return status 200 content-type application/octet-stream string "${'x'.repeat(1024)}"`,
  ])
}
