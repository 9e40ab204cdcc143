/**
 * `node tests/cluster/secret-manager-server.ts`: the two endpoints of AWS that an External Secrets Operator speaks to, for what cannot be had
 * here: STS, which gives credentials for the token of a ServiceAccount that the cluster really signed, to the role that its annotation
 * names, and Secrets Manager, which gives the values of `secret-manager.json` to who shows those credentials.
 */
import { createPublicKey, randomBytes, verify } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { text } from 'node:stream/consumers'
import { type Holdings, SECRET_MANAGER_PORT } from './external-secrets.ts'
import { inFolder } from './place.ts'

const AUDIENCE = 'sts.amazonaws.com'

const accounts = createPublicKey(readFileSync(inFolder('pki/accounts.pub')))
const issued = new Set<string>()

/** The subject of a token that the cluster's API server signed for AWS, or nobody. */
function subjectOf(token: string): string | undefined {
  const [header = '', payload = '', signature = ''] = token.split('.')
  if (!verify('sha256', Buffer.from(`${header}.${payload}`), accounts, Buffer.from(signature, 'base64url'))) return undefined
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { sub: string; aud: readonly string[]; exp: number }
  return claims.aud.includes(AUDIENCE) && claims.exp * 1000 > Date.now() ? claims.sub : undefined
}

function assumeRole({ roles }: Holdings, form: URLSearchParams): readonly [status: number, body: string] {
  const subject = subjectOf(form.get('WebIdentityToken') ?? '')
  if (subject === undefined || roles[subject] !== form.get('RoleArn'))
    return [
      403,
      '<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not this role</Message></Error></ErrorResponse>',
    ]
  const id = `ASIA${randomBytes(8).toString('hex').toUpperCase()}`
  issued.add(id)
  const credentials = [
    ['AccessKeyId', id],
    ['SecretAccessKey', randomBytes(20).toString('hex')],
    ['SessionToken', randomBytes(20).toString('hex')],
    ['Expiration', new Date(Date.now() + 3_600_000).toISOString()],
  ]
  const inside = credentials.map(([name, value]) => `<${name}>${value}</${name}>`).join('')
  return [
    200,
    `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials>${inside}</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`,
  ]
}

function secretValue({ secrets }: Holdings, authorization: string, target: string, body: string): readonly [status: number, body: unknown] {
  const refused = (type: string) => [400, { __type: type, Message: type }] as const
  if (!issued.has(/Credential=(\w+)\//.exec(authorization)?.[1] ?? '')) return refused('UnrecognizedClientException')
  if (target !== 'secretsmanager.GetSecretValue') return refused('UnknownOperationException')
  const { SecretId } = JSON.parse(body) as { SecretId: string }
  const value = secrets[SecretId]
  if (value === undefined) return refused('ResourceNotFoundException')
  return [200, { Name: SecretId, SecretString: value, VersionId: 'e'.repeat(32), VersionStages: ['AWSCURRENT'] }]
}

createServer(async (request, response) => {
  const body = await text(request)
  const holdings = JSON.parse(readFileSync(inFolder('secret-manager.json'), 'utf8')) as Holdings
  const target = request.headers['x-amz-target']
  const json = typeof target === 'string'
  const [status, answer] = json
    ? secretValue(holdings, request.headers.authorization ?? '', target, body)
    : assumeRole(holdings, new URLSearchParams(body))
  response.writeHead(status, { 'content-type': json ? 'application/x-amz-json-1.1' : 'text/xml' })
  response.end(json ? JSON.stringify(answer) : answer)
}).listen(SECRET_MANAGER_PORT, '127.0.0.1')
