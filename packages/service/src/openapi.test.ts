import { ok } from '@caracal/core'
import Type from 'typebox'
import { describe, expect, it } from 'vitest'
import { answer, anyone, application, form, internal, openApi, Problem, role, route } from './index.ts'

const rows = [
  route({
    method: 'POST',
    path: '/v1/zones/:zone/policy-sets/:set/activate',
    who: [role('policy_author'), application('policies')],
    rate: 'mutation',
    audit: 'policy.activated',
    idempotent: true,
    exposure: 'public',
    summary: 'Activate',
    params: Type.Object({ zone: Type.String(), set: Type.String({ minLength: 2 }) }),
    query: Type.Object({ dry: Type.Optional(Type.Boolean()), at: Type.String() }),
    body: Type.Object({ version: Type.String(), inner: Type.Optional(Type.Object({ a: Type.String() })) }),
    reply: { 200: Type.Object({ active: Type.Boolean() }), 409: Problem('conflict'), 204: null },
    handle: () => answer(200, { active: true }),
  }),
  route({
    method: 'POST',
    path: '/oauth/2/token',
    who: anyone,
    exposure: 'public',
    summary: 'Token',
    body: form(),
    reply: { 200: Type.Object({}) },
    handle: () => ok({}),
  }),
  route({
    method: 'GET',
    path: '/console/*',
    who: internal('api'),
    exposure: 'cluster',
    summary: 'Files',
    reply: {},
    handle: () => answer(200, 'x'),
  }),
]

describe('[P-128] OpenAPI', () => {
  const document = JSON.parse(JSON.stringify(openApi({ title: 't', version: '1', rows })))
  const activate = document.paths['/v1/zones/{zone}/policy-sets/{set}/activate'].post

  it('says of each row who, what and which answers, as the route layer enforces it', () => {
    expect(Object.keys(document.paths)).toEqual(['/v1/zones/{zone}/policy-sets/{set}/activate', '/oauth/2/token', '/console/{rest}'])
    expect(activate.operationId).toBe('post_v1_zones_zone_policy_sets_set_activate')
    expect(activate['x-caracal-who']).toEqual(['role policy_author', 'application with policies'])
    expect(activate.security).toEqual([{ bearer: [] }])
    expect(activate.parameters).toEqual([
      { name: 'zone', in: 'path', required: true, schema: { type: 'string' } },
      { name: 'set', in: 'path', required: true, schema: { type: 'string', minLength: 2 } },
      { name: 'dry', in: 'query', required: false, schema: { type: 'boolean' } },
      { name: 'at', in: 'query', required: true, schema: { type: 'string' } },
      { name: 'Idempotency-Key', in: 'header', required: false, schema: { type: 'string', minLength: 1, maxLength: 255 } },
    ])
    expect(Object.keys(activate.responses).sort()).toEqual([
      '200',
      '204',
      '400',
      '401',
      '403',
      '404',
      '409',
      '413',
      '415',
      '422',
      '429',
      '500',
      '503',
    ])
  })

  it('describes closed objects, because unknown fields are errors', () => {
    const schema = activate.requestBody.content['application/json'].schema
    expect(schema.additionalProperties).toBe(false)
    expect(schema.properties.inner.additionalProperties).toBe(false)
  })

  it('marks what needs no credential and what takes a form', () => {
    const token = document.paths['/oauth/2/token'].post
    expect(token.security).toEqual([])
    expect(Object.keys(token.requestBody.content)).toEqual(['application/x-www-form-urlencoded'])
    expect(document.paths['/console/{rest}'].get.security).toEqual([{ internal: [] }])
  })
})
