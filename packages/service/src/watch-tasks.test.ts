import { expect, test } from 'vitest'
import { createMetrics, watchTasks } from './index.ts'

test('a task is overdue when it has not ended well for three of its rounds and a minute, and no longer when it has', async () => {
  let now = 0
  const metrics = createMetrics({ service: 'test', version: '1', mode: 'dev' })
  const done = watchTasks(metrics, { sweep: { everyMs: 5_000 }, check: { everyMs: 600_000 } }, () => now)
  const overdue = async () => {
    const { body } = await metrics.text()
    return ['sweep', 'check'].map((task) => Number(new RegExp(`caracal_task_overdue\\{task="${task}"\\} (\\d)`).exec(body)?.[1]))
  }
  expect(await overdue()).toEqual([0, 0])
  now = 61_000
  expect(await overdue()).toEqual([1, 0])
  done('sweep')
  expect(await overdue()).toEqual([0, 0])
  now = 1_800_001
  expect(await overdue()).toEqual([1, 1])
  done('check')
  done('sweep')
  expect(await overdue()).toEqual([0, 0])
  metrics.close()
})
