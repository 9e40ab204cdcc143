import { newId, type Reason } from '@caracal/core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  ACCESS_TOKEN,
  ASSERTION,
  EXCHANGE,
  type Fields,
  foreign,
  form,
  openTokenDesk,
  refused,
  resource,
  session,
  world,
} from './test-support/token-desk.ts'

beforeAll(openTokenDesk)
afterAll(() => world?.close())

describe('[P-004] [P-005] every refusal of the form', () => {
  const cases: [string, Reason, string, () => Fields][] = [
    ['no grant', 'missing_parameter', 'grant_type', () => ({ grant_type: undefined })],
    ['an empty grant', 'missing_parameter', 'grant_type', () => ({ grant_type: '' })],
    ['another grant', 'unsupported_grant_type', '', () => ({ grant_type: 'password' })],
    ['the implicit grant', 'unsupported_grant_type', '', () => ({ grant_type: 'implicit' })],
    ['no resource', 'missing_parameter', 'resource', () => ({ resource: undefined })],
    ['a relative resource', 'invalid_target', 'absolute', () => ({ resource: '/api' })],
    ['a resource with a fragment', 'invalid_target', 'fragment', () => ({ resource: `${resource.identifier}#x` })],
    ['an unknown resource', 'invalid_target', '', () => ({ resource: 'https://nobody.example/' })],
    ['a resource of another zone', 'invalid_target', '', () => ({ resource: foreign.identifier })],
    ['a resource in another case', 'invalid_target', '', () => ({ resource: resource.identifier.toUpperCase() })],
    ['the id instead of the identifier', 'invalid_target', '', () => ({ resource: resource.id })],
    ['a malformed scope', 'invalid_scope', '', () => ({ scope: 'read "x"' })],
    ['a pattern as scope', 'invalid_scope', '', () => ({ scope: '*' })],
    ['a scope that names nothing', 'invalid_scope', 'nothing', () => ({ scope: ' ' })],
    ['an undeclared scope', 'invalid_scope', 'delete', () => ({ scope: 'read delete' })],
    ['ttl 0', 'invalid_request', 'ttl', () => ({ ttl: '0' })],
    ['a negative ttl', 'invalid_request', 'ttl', () => ({ ttl: '-1' })],
    ['a fractional ttl', 'invalid_request', 'ttl', () => ({ ttl: '1.5' })],
    ['once as a word', 'invalid_request', 'once', () => ({ once: 'yes' })],
    ['a session that is no id', 'session_not_usable', '', () => ({ session: 'mine' })],
    ['a delegation that is no id', 'delegation_not_usable', '', () => ({ session: session.id, delegation: 'x' })],
    ['a delegation without a session', 'missing_parameter', 'session', () => ({ delegation: newId('delegation') })],
    ['an approval that is no id', 'invalid_request', 'approval', () => ({ approval: 'yes' })],
    ['an approval for what is not held', 'invalid_request', 'approval', () => ({ approval: newId('approval') })],
    ['two authentication methods', 'invalid_request', 'more than one', () => ({ client_assertion: 'x', client_assertion_type: ASSERTION })],
    [
      'an assertion without type',
      'missing_parameter',
      'client_assertion_type',
      () => ({ client_secret: undefined, client_assertion: 'x' }),
    ],
    [
      'a type without assertion',
      'missing_parameter',
      'client_assertion',
      () => ({ client_secret: undefined, client_assertion_type: ASSERTION }),
    ],
    [
      'another assertion type',
      'invalid_request',
      'client_assertion_type',
      () => ({ client_secret: undefined, client_assertion: 'x', client_assertion_type: 'saml' }),
    ],
    ['a secret without client_id', 'missing_parameter', 'client_id', () => ({ client_id: undefined })],
    ['a subject token in client_credentials', 'unknown_parameter', 'subject_token', () => ({ subject_token: 'x' })],
    ['an actor token in client_credentials', 'unknown_parameter', 'actor_token', () => ({ actor_token: 'x' })],
    ['an exchange without subject token', 'missing_parameter', 'subject_token', () => ({ grant_type: EXCHANGE })],
    [
      'an exchange without subject token type',
      'missing_parameter',
      'subject_token_type',
      () => ({ grant_type: EXCHANGE, subject_token: 'x' }),
    ],
    [
      'an ID token as subject',
      'unsupported_token_type',
      '',
      () => ({ grant_type: EXCHANGE, subject_token: 'x', subject_token_type: 'urn:ietf:params:oauth:token-type:id_token' }),
    ],
    [
      'a refresh token wanted',
      'unsupported_token_type',
      '',
      () => ({
        grant_type: EXCHANGE,
        subject_token: 'x',
        subject_token_type: ACCESS_TOKEN,
        requested_token_type: 'urn:ietf:params:oauth:token-type:refresh_token',
      }),
    ],
    [
      'an actor token without its type',
      'missing_parameter',
      'actor_token_type',
      () => ({ grant_type: EXCHANGE, subject_token: 'x', subject_token_type: ACCESS_TOKEN, actor_token: 'y' }),
    ],
    [
      'an actor token type without its token',
      'invalid_request',
      'actor_token',
      () => ({ grant_type: EXCHANGE, subject_token: 'x', subject_token_type: ACCESS_TOKEN, actor_token_type: ACCESS_TOKEN }),
    ],
  ]
  it.each(cases)('%s', async (_name, reason, detail, change) => {
    await refused(await world.post('/oauth/2/token', form(change())), reason, detail)
  })

  it.each(
    'audience authorization_details assertion code code_verifier device_code dpop_jkt password redirect_uri refresh_token request request_uri requested_actor requested_subject username'.split(
      ' ',
    ),
  )('%s is refused by name', async (name) => {
    await refused(await world.post('/oauth/2/token', form({ [name]: 'x' })), 'unknown_parameter', `${name} is not supported`)
  })

  it.each(
    'grant_type client_id client_secret scope session delegation approval ttl once client_assertion subject_token audience'.split(' '),
  )('%s twice is refused by name, even with equal values', async (name) => {
    const once = new URLSearchParams(form()).toString()
    const value = form()[name] ?? 'x'
    const twice = `${once}&${new URLSearchParams({ [name]: value })}${form()[name] === undefined ? `&${name}=x` : ''}`
    await refused(await world.post('/oauth/2/token', twice), 'duplicate_parameter', name)
  })

  it('[P-003] two resources are refused as a whole, two equal ones are one', async () => {
    const two = `${new URLSearchParams(form())}&resource=${encodeURIComponent('https://else.example/')}`
    await refused(await world.post('/oauth/2/token', two), 'invalid_target', 'names one resource')
    const same = `${new URLSearchParams(form())}&resource=${encodeURIComponent(resource.identifier)}`
    expect((await world.post('/oauth/2/token', same)).status).toBe(200)
  })

  it('names that no standard defines are ignored (RFC 6749 §3.2)', async () => {
    expect((await world.post('/oauth/2/token', form({ vendor_hint: 'x' }))).status).toBe(200)
  })

  it('query strings, other media types, bad escapes and large bodies', async () => {
    await refused(await world.post('/oauth/2/token?grant_type=client_credentials', form()), 'unknown_parameter')
    await refused(await world.post('/oauth/2/token', '{}', { 'content-type': 'application/json' }), 'unsupported_media_type')
    await refused(await world.post('/oauth/2/token', form(), { 'content-encoding': 'gzip' }), 'unsupported_media_type')
    await refused(await world.post('/oauth/2/token', 'grant_type=%zz'), 'invalid_request')
    await refused(await world.post('/oauth/2/token', `x=${'y'.repeat(70_000)}`), 'body_too_large')
  })
})
