import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { lockDirectory } from './directory-lock.ts'

let dir = ''
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'caracal-lock-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

function leaveLock(holder: { host?: string; pid: number; start?: string }): void {
  writeFileSync(join(dir, 'lock'), JSON.stringify({ id: 'other', host: hostname(), start: '', ...holder }))
}

test('one process holds a directory, and leaves nothing behind', async () => {
  const unlock = await lockDirectory(dir)
  await expect(lockDirectory(dir)).rejects.toThrow('in use')
  await unlock()
  expect(readdirSync(dir)).toEqual([])
  await (await lockDirectory(dir))()
})

test('the lock of a process that is dead is taken over at once', async () => {
  const child = spawn(process.execPath, ['-e', ''])
  await new Promise((resolve) => child.once('exit', resolve))
  leaveLock({ pid: child.pid ?? 0 })
  await (await lockDirectory(dir, 0))()
})

test('the lock of a process that runs is respected', async () => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
  leaveLock({ pid: child.pid ?? 0 })
  await expect(lockDirectory(dir, 0)).rejects.toThrow('in use')
  child.kill('SIGKILL')
  await new Promise((resolve) => child.once('exit', resolve))
  await (await lockDirectory(dir, 0))()
})

test('a restarted container has the number of the one before it: that lock is stale', async () => {
  leaveLock({ pid: process.pid })
  await (await lockDirectory(dir, 0))()
})

test('another process that got the number of the dead one is not taken for it', async () => {
  leaveLock({ pid: 1, start: '1234567890123' })
  await (await lockDirectory(dir, 0))()
})

test('a holder on another machine is believed as long as it gives signs of life', async () => {
  leaveLock({ host: 'elsewhere', pid: 1 })
  await expect(lockDirectory(dir, 0)).rejects.toThrow('in use')
  const long = new Date(Date.now() - 11_000)
  utimesSync(join(dir, 'lock'), long, long)
  await (await lockDirectory(dir, 0))()
})

test('of many that take over a stale lock exactly one gets it', async () => {
  leaveLock({ pid: process.pid })
  const answers = await Promise.allSettled(Array.from({ length: 8 }, () => lockDirectory(dir, 1_000)))
  expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  expect(JSON.parse(readFileSync(join(dir, 'lock'), 'utf8')).pid).toBe(process.pid)
})
