import { request } from 'undici'
import { unreachable } from '../api-client.ts'
import { CliError } from '../cli-error.ts'
import type { Context } from '../context.ts'
import { readSecretFile } from '../secret-file.ts'
import type { CommandContext } from './command.ts'

export type MandateAnswer = {
  readonly access_token: string
  readonly expires_in: number
  readonly scope: string
  readonly mandate_id?: string
}

type Answer = MandateAnswer & {
  readonly error?: string
  readonly error_description?: string
  readonly code?: string
  readonly request_id?: string
}

export type ClientCredential = { readonly clientId: string; readonly clientSecret: string }

/** One mandate by client_credentials (RFC 6749 §4.4, RFC 8707). A refusal is a CliError with the code of the token endpoint. */
export async function mintMandate(
  context: Pick<Context, 'sts'>,
  credential: ClientCredential,
  parameters: Readonly<Record<string, string>>,
): Promise<MandateAnswer> {
  const { sts } = context
  const answer = await request(`${sts}/oauth/2/token`, {
    method: 'POST',
    headers: {
      authorization: `Basic ${Buffer.from(`${encodeURIComponent(credential.clientId)}:${encodeURIComponent(credential.clientSecret)}`).toString('base64')}`,
      'content-type': 'application/x-www-form-urlencoded',
    },
    body: new URLSearchParams({ grant_type: 'client_credentials', ...parameters }).toString(),
  }).catch((error: Error) => {
    throw unreachable(sts, error)
  })
  const body = (await answer.body.json().catch(() => ({ error: `HTTP ${answer.statusCode} of ${sts}, which is not an STS` }))) as Answer
  if (answer.statusCode === 200 && body.access_token !== undefined) return body
  throw new CliError(`${body.code ?? body.error}: ${body.error_description ?? ''} (${body.request_id ?? 'no request id'})`, undefined, {
    code: body.code ?? body.error,
  })
}

/** Prints a mandate for the client credentials of the environment: the bare token, so that it fits into `$(…)`. */
export async function printMandate(
  { output, context, env }: CommandContext,
  options: { resource: string; scope?: string; ttl?: string; once: boolean },
): Promise<void> {
  const clientId = env.CARACAL_CLIENT_ID
  const clientSecret = env.CARACAL_CLIENT_SECRET_FILE
    ? readSecretFile(env.CARACAL_CLIENT_SECRET_FILE, 'The file that CARACAL_CLIENT_SECRET_FILE names').trim()
    : env.CARACAL_CLIENT_SECRET
  if (!clientId || !clientSecret) {
    throw new CliError(
      'There are no client credentials.',
      'Set CARACAL_CLIENT_ID and CARACAL_CLIENT_SECRET_FILE; `caracal credential create` makes them.',
      { exitCode: 2 },
    )
  }
  const answer = await mintMandate(
    context(),
    { clientId, clientSecret },
    {
      resource: options.resource,
      ...(options.scope ? { scope: options.scope } : {}),
      ...(options.ttl ? { ttl: options.ttl } : {}),
      ...(options.once ? { once: 'true' } : {}),
    },
  )
  output.line(output.json ? JSON.stringify(answer) : answer.access_token)
}
