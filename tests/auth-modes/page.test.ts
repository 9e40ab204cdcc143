import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from '@caracal/harness'
import type { RunningService } from '@caracal/service'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { fences, ROOT } from '../docs/markdown-files.ts'
import { commandsOf } from '../docs/page-commands.ts'
import { type Ground, startGround } from './ground.ts'

const PAGE = readFileSync(join(ROOT, 'docs/auth-modes.md'), 'utf8')
const MAIN = join(ROOT, 'apps/cli/src/main.ts')
let ground: Ground
beforeAll(async () => {
  ground = await startGround()
})
afterAll(() => ground?.stop())

/** One command in the folder of the page; what it sets stays set. `npx caracal` is the CLI of this checkout. */
function run(command: string): Promise<{ readonly code: number; readonly output: string }> {
  const script = `npx() { shift; '${process.execPath}' '${MAIN}' "$@"; }
[ -e .shell ] && . ./.shell
${command}
code=$?
declare -p | grep -E '^declare -- (claims|input|token)=' > .shell
exit $code`
  return new Promise((resolve) => {
    execFile('bash', ['-c', script], { cwd: ground.folder, env: { ...process.env, ...ground.cli } }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), output: stdout + stderr }),
    )
  })
}

/** A Gateway with the settings of a block, on a port of this run. */
function gatewayOf(block: string, port: string): Promise<RunningService> {
  const settings = block.split('\n').map((line): [string, string] => {
    const [name = '', value = ''] = line.split('=')
    return [name, name.endsWith('_FILE') ? join(ground.folder, value) : value.replace('8443', port)]
  })
  return ground.gateway(Object.fromEntries(settings))
}

test('[P-128] [P-158] docs/auth-modes.md: its settings start a Gateway each, and its commands do what it says', async () => {
  const settings = fences(PAGE).filter(({ language }) => language === 'ini')
  const commands = commandsOf(PAGE)
  expect(settings).toHaveLength(3)
  expect(commands.length).toBeGreaterThan(10)
  let port = ''
  for (const { line, text, expected, refused } of commands) {
    while (settings[0] !== undefined && settings[0].line < line) {
      port = String(await freePort())
      await gatewayOf(settings.shift()?.text ?? '', port)
    }
    const ran = await run(text.replaceAll('8443', port))
    if (refused) expect(ran.code, `${line}: ${ran.output}`).not.toBe(0)
    else expect(ran.code, `${line}: ${ran.output}`).toBe(0)
    for (const one of expected) expect(ran.output, String(line)).toContain(one)
  }
}, 600_000)
