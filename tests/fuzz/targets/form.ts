import { parseForm, singleValues } from '@caracal/service'
import fc from 'fast-check'
import { mutated } from '../mutate.ts'
import { same } from '../same.ts'
import { target } from '../target.ts'

const CORPUS = [
  'grant_type=client_credentials&resource=https%3A%2F%2Flab.example%2F&scope=a+b&ttl=60',
  'grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token=a.b.c&resource=a&resource=b',
  'a&b=&=c&&=&a=1&a=2',
  '\ufeffa=1&a=2',
]

export const form = target(
  {
    name: 'form',
    guarantee: '[P-004] a form that is read says what URLSearchParams says; a name that stands twice has no single value',
    runs: 4000,
  },
  fc.oneof(mutated(CORPUS), fc.uint8Array({ maxLength: 60 }).map(Buffer.from)),
  (bytes) => {
    const read = parseForm(bytes)
    if (!read.ok) return
    const pairs = [...new URLSearchParams(`?${new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)}`)]
    const names = new Set(pairs.map(([name]) => name))
    same(
      [...read.value].map(([name, values]) => [name, [...values]]),
      [...names].map((name) => [name, pairs.filter(([other]) => other === name).map(([, value]) => value)]),
    )
    const single = singleValues(read.value)
    same(single.ok, names.size === pairs.length)
    if (single.ok)
      same(
        [...single.value],
        pairs.filter(([, value]) => value !== ''),
      )
  },
)
