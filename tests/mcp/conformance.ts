import { execFile } from 'node:child_process'
import { createServer, request as dial } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'

const BIN = join(import.meta.dirname, '../../node_modules/.bin/conformance')

/**
 * Runs scenarios of the official conformance suite against a URL, at once. The suite cannot prove who it is: something small in front of
 * the URL says it for it, and changes nothing else.
 */
export async function conforms(url: URL, token: string, scenarios: readonly string[]): Promise<Record<string, string>> {
  const front = createServer((request, response) => {
    const headers = { ...request.headers, authorization: `Bearer ${token}`, host: url.host }
    const onward = dial(url, { method: request.method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(response)
    })
    onward.on('error', () => response.destroy())
    request.pipe(onward)
  })
  await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve))
  const target = `http://127.0.0.1:${(front.address() as AddressInfo).port}/mcp`
  const ran = await Promise.all(scenarios.map(async (scenario) => [scenario, await run(target, scenario)] as const))
  front.close()
  front.closeAllConnections()
  return Object.fromEntries(ran)
}

function run(url: string, scenario: string): Promise<string> {
  return new Promise((resolve) => {
    execFile(process.execPath, [BIN, 'server', '--url', url, '--scenario', scenario], (_error, stdout, stderr) => {
      resolve(/Passed: (\d+\/\d+), 0 failed/.exec(stdout)?.[1] ?? `${stdout}${stderr}`)
    })
  })
}
