import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const root = join(import.meta.dirname, '../..')
const read = (path: string) => readFileSync(join(root, path), 'utf8')

test('the image is built from every workspace that the lock file knows: else its packages cannot be installed', () => {
  const { workspaces } = JSON.parse(read('package.json')) as { workspaces: string[] }
  const all = workspaces.flatMap((pattern) => globSync(`${pattern}/package.json`, { cwd: root })).sort()
  const copied = [...read('infra/docker/Dockerfile').matchAll(/^COPY (\S+\/package\.json) /gm)].map(([, path]) => path).sort()
  expect(copied).toEqual(all)
  // What the builder is not sent it cannot copy; packages and apps are sent whole.
  const sent = [...read('infra/docker/Dockerfile.dockerignore').matchAll(/^!(tests\/\S+)$/gm)].map(([, path]) => path).sort()
  expect(sent).toEqual(all.filter((path) => path.startsWith('tests/')))
})
