import { expect, test } from 'vitest'
import { headersForUpstream } from './header-hygiene.ts'

test.each([
  ['caracal.session=ses_1', undefined],
  ['tenant=blue', 'tenant=blue'],
  ['tenant=blue;p=1, caracal.session=ses_1 ,x=2', 'tenant=blue;p=1,x=2'],
  ['Caracal.Session=1,CARACAL=2,caracal-x=3', undefined],
  ['%63aracal.session=1,caraca%6C%2Esession=2', undefined],
  ['caracalla=emperor,x-caracal=other', 'caracalla=emperor,x-caracal=other'],
  [' , ', undefined],
])('[P-150] baggage %j reaches the upstream as %j, in any spelling of the header and beside any mandate', (value, expected) => {
  for (const name of ['baggage', 'Baggage', 'BAGGAGE'])
    expect(headersForUpstream([name, value, 'Authorization', 'Bearer x', 'Accept', '*/*'])).toEqual([
      ...(expected === undefined ? [] : [name, expected]),
      'Accept',
      '*/*',
    ])
})

test('[P-150] each of several baggage headers is looked through', () => {
  expect(headersForUpstream(['baggage', 'caracal.a=1,b=2', 'baggage', 'caracal.c=3'])).toEqual(['baggage', 'b=2'])
})
