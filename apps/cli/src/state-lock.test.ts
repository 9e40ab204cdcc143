import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { lockState } from './state-lock.ts'

const folders: string[] = []
const folder = () => {
  const made = mkdtempSync(join(tmpdir(), 'caracal-lock-'))
  folders.push(made)
  return made
}
afterEach(() => {
  for (const made of folders.splice(0)) rmSync(made, { recursive: true, force: true })
})

test('a folder is taken once, and free again after its release', () => {
  const at = folder()
  const release = lockState(at)
  expect(() => lockState(at)).toThrow(`(pid ${process.pid}) runs on ${at}`)
  release()
  lockState(at)()
  expect(readdirSync(at)).toEqual([])
})

test.each([
  ['a process that is gone', '4194304 1'],
  ['a process whose id somebody else has now', '1 1'],
  ['this process id, from another boot', `${process.pid} 1`],
  ['nonsense', 'nonsense'],
])('the lock of %s is taken over', (_, owner) => {
  const at = folder()
  writeFileSync(join(at, 'lock'), owner)
  const release = lockState(at)
  expect(readFileSync(join(at, 'lock'), 'utf8')).toMatch(new RegExp(`^${process.pid}\\b`))
  release()
})

test('an empty lock belongs to somebody who is about to write it, for two seconds', () => {
  const at = folder()
  const lock = join(at, 'lock')
  writeFileSync(lock, '')
  expect(() => lockState(at)).toThrow('just starting')
  utimesSync(lock, new Date(), new Date(Date.now() - 3_000))
  lockState(at)()
})

test('[P-143] of many that try at once on a dead lock exactly one gets it', async () => {
  const at = folder()
  writeFileSync(join(at, 'lock'), '4194304 1')
  const module = join(import.meta.dirname, 'state-lock.ts')
  const script = `const { lockState } = await import(${JSON.stringify(module)})
    while (Date.now() < ${Date.now() + 1_500}) {}
    try { lockState(${JSON.stringify(at)}); console.log('has it') } catch (error) { console.log(error.message) }
    await new Promise((resolve) => setTimeout(resolve, 1000))`
  const said = await Promise.all(
    Array.from({ length: 4 }, async () => {
      const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
      let text = ''
      for await (const chunk of child.stdout) text += chunk
      return text.trim()
    }),
  )
  expect(said.filter((line) => line === 'has it')).toHaveLength(1)
  expect(said.filter((line) => line.startsWith('Another `caracal up`'))).toHaveLength(3)
})
