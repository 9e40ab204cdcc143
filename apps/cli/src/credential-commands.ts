import type { Command } from 'commander'
import type { CommandContext } from './commands/command.ts'

type Confirm = (options: { yes: boolean; dryRun: boolean }, act: string) => Promise<void>

/** `caracal credential …`: with what applications prove who they are. */
export function addCredentialCommands(caracal: Command, here: () => CommandContext, confirm: Confirm): void {
  const credential = caracal.command('credential').description('credentials of applications')
  credential
    .command('create <application>')
    .description('make a client secret for the token endpoint, or an API key; it is shown once')
    .option('-z, --zone <zone>', 'zone name or id')
    .option('--api-key <name>', 'an API key of this name for a Gateway or adapter with AUTH_MODE=api_key')
    .option('--days <n>', 'how long an API key lives; 0 = until it is revoked', '365')
    .action(async (application, { zone, apiKey, days }) => {
      const commands = await import('./commands/credential.ts')
      if (apiKey === undefined) await commands.createCredential(here(), { application, zone })
      else await commands.createApiKey(here(), { application, zone, name: apiKey, days })
    })
  credential
    .command('bind <application>')
    .description('let a client certificate stand for an application, at a Gateway with AUTH_MODE=mtls')
    .requiredOption('-n, --name <name>', 'name of the binding')
    .option('-z, --zone <zone>', 'zone name or id')
    .option('--certificate <file>', 'this certificate, by its SHA-256 thumbprint')
    .option('--subject', 'with --certificate: every certificate of its subject', false)
    .option('--match <name>', 'every certificate that carries sha256:…, subject:CN=…, dns:…, uri:… or email:…')
    .option('--days <n>', 'how long the binding lives; 0 = until it is revoked', '365')
    .action(async (application, options) => (await import('./commands/credential.ts')).bindCertificate(here(), { application, ...options }))
  credential
    .command('list <application>')
    .description('client secrets, public keys, API keys and certificates of an application')
    .option('-z, --zone <zone>', 'zone name or id')
    .action(async (application, { zone }) => (await import('./commands/credential.ts')).listCredentials(here(), { application, zone }))
  credential
    .command('revoke <application> <credential>')
    .description('end a credential at once, by its id or the name of an API key or certificate')
    .option('-z, --zone <zone>', 'zone name or id')
    .option('-y, --yes', 'do not ask', false)
    .action(async (application, name, { zone, yes }) => {
      await confirm({ yes, dryRun: false }, `revoke credential ${name} of ${application}`)
      await (await import('./commands/credential.ts')).revokeCredential(here(), { application, credential: name, zone })
    })
}
