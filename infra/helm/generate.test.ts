import { expect, test } from 'vitest'
import { staleFiles } from './generate.ts'

test('the generated files of the chart are what their sources say; `make chart` makes them again', () => {
  expect(Object.keys(staleFiles())).toEqual([])
})
