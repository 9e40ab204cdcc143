import { callService } from '../api-client.ts'
import type { CommandContext } from './command.ts'
import { findNamed, findZone } from './find.ts'
import type { ClientCredential } from './mandate.ts'

type CredentialAnswer = {
  readonly id: string
  readonly client_id: string
  readonly client_secret: string
  readonly expiresAt: number | null
}

/** Makes a client secret for an application and shows it once. */
export async function createCredential(
  { output, context }: CommandContext,
  options: { application: string; zone?: string; quiet?: boolean },
): Promise<ClientCredential> {
  const where = context()
  const zone = await findZone(where, options.zone)
  const application = await findNamed(where, zone, 'application', options.application)
  const answer = await callService<CredentialAnswer>(
    where.api,
    where.token,
    `/v1/zones/${zone.id}/applications/${application.id}/credentials`,
    { body: { kind: 'secret' } },
  )
  if (!options.quiet) {
    if (output.json) output.line(JSON.stringify(answer))
    else {
      output.line(`client_id      ${answer.client_id}`)
      output.line(`client_secret  ${answer.client_secret}`)
      output.note('The secret is shown this once; it cannot be read again.')
    }
  }
  return { clientId: answer.client_id, clientSecret: answer.client_secret }
}
