#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { enableCompileCache } from 'node:module'
import { join } from 'node:path'
import { Command, CommanderError } from 'commander'
import { CliError } from './cli-error.ts'
import type { CommandContext } from './commands/command.ts'
import { loadContext } from './context.ts'
import { addCredentialCommands } from './credential-commands.ts'
import { addOperatorCommands } from './operator-commands.ts'
import { colour, processOutput, surviveClosedPipes } from './output.ts'

/** Commands are loaded when they run: `caracal get` must not pay for the services that `caracal up` starts. */
export function program(): Command {
  const caracal = new Command('caracal')
    .description('Mandates instead of keys for AI agents: decide, enforce, evidence, revoke.')
    .option('--json', 'print JSON instead of tables')
    .version(readVersion(), '-V, --version', 'print the version')
    .exitOverride()
    // With --json what went wrong is one JSON document as well: `report` writes it.
    .configureOutput({ writeErr: (text) => void (process.argv.includes('--json') || process.stderr.write(text)) })
    .configureHelp({ sortSubcommands: true })
  const here = (): CommandContext => ({
    output: processOutput(caracal.opts().json === true),
    context: () => loadContext(process.env),
    env: process.env,
  })

  caracal
    .command('up')
    .description('start everything in one process, until Ctrl-C')
    .option('--database-url <url>', 'a Postgres server instead of the embedded one; with a password as @file or @- (standard input)')
    .option('--redis-url <url>', 'a Redis server for the streams instead of Postgres; with a password as @file or @-')
    .option('--mcp <servers>', 'MCP servers, name=url,…: starts the MCP Adapter too')
    .option('--port-offset <n>', 'added to every port', '0')
    .action(async (options) => (await import('./commands/up.ts')).up(here(), options))
  caracal
    .command('serve <role>')
    .description('start one role: api, sts, gateway, mcp-adapter, audit or coordinator; configured by the environment')
    .option('--with <roles>', 'other roles in the same process on one Postgres (DB_HOST, …), e.g. api,sts,audit,coordinator')
    .option('--migrate', 'with --with: apply pending migrations first', false)
    .action(async (role, options) => (await import('./commands/serve.ts')).serve(here(), role, options))

  caracal
    .command('apply')
    .description('make the zone what YAML documents say')
    .requiredOption('-f, --file <path...>', 'a file, or a folder of .yaml files')
    .option('--plan', 'show what would change and write nothing', false)
    .option('--no-activate', 'store changed policies without activating them')
    .action(
      async (options) =>
        void (await (
          await import('./commands/apply.ts')
        ).apply(here(), { files: options.file, plan: options.plan, activate: options.activate })),
    )
  caracal
    .command('get <noun> [name]')
    .description('list zones, applications, resources, providers, policies, sessions, delegations, revocations, tokens')
    .option('-z, --zone <zone>', 'zone name or id')
    .action(async (noun, name, options) => (await import('./commands/get.ts')).get(here(), { noun, name, zone: options.zone }))
  caracal
    .command('delete <noun> <name>')
    .description('delete one, and revoke what lives on it')
    .option('-z, --zone <zone>', 'zone name or id')
    .option('--dry-run', 'show what would be cut and change nothing', false)
    .option('-y, --yes', 'do not ask', false)
    .action(async (noun, name, options) => {
      const { deletable, remove } = await import('./commands/get.ts')
      deletable(noun)
      await confirm(options, `delete ${noun} ${name} and revoke everything that stands on it`)
      await remove(here(), { noun, name, zone: options.zone, dryRun: options.dryRun })
    })
  caracal
    .command('revoke [kind] [id]')
    .description(
      'revoke a mandate, session, delegation, application, credential, resource, provider, subject, connection or zone, and everything below it; or, with --filter, every session or delegation that matches',
    )
    .option('--filter <name=value...>', 'application=<name>, resource=<identifier or prefix*>, older-than=<30m>; all must match')
    .option('-z, --zone <zone>', 'zone name or id')
    .option('--reason <text>', 'why, for the evidence', 'revoked by an operator')
    .option('--dry-run', 'show what would end and change nothing', false)
    .option('-y, --yes', 'do not ask', false)
    .action(async (kind, id, options) => {
      const { filter, zone, reason, dryRun } = options
      if ((filter === undefined) === (id === undefined) || (filter !== undefined && kind !== undefined))
        throw new CliError('Say what to revoke: a kind and an id, or --filter.', undefined, { exitCode: 2 })
      if (filter !== undefined) {
        await confirm(options, `revoke everything that matches ${filter.join(' and ')}`)
        return (await import('./commands/revoke.ts')).revokeMatching(here(), { filter, zone, reason, dryRun })
      }
      await confirm(options, `revoke ${kind} ${id}`)
      await (await import('./commands/revoke.ts')).revoke(here(), {
        kind,
        id,
        zone: options.zone,
        reason: options.reason,
        dryRun: options.dryRun,
      })
    })

  addCredentialCommands(caracal, here, confirm)
  caracal
    .command('certs')
    .description('certificates to try the compact deployment with')
    .command('generate')
    .description('make certificate and key of the Gateway, an authority for client certificates and a key pair for tokens')
    .option('--dir <folder>', 'where to', 'certs')
    .option('--days <n>', 'how long they live', '365')
    .option('--host <name...>', 'further names of the Gateway', [])
    .option('--force', 'overwrite what is there', false)
    .action(async (options) => (await import('./commands/certs.ts')).generateCertificates(here(), options))
  const token = caracal.command('token').description('admin tokens of operators and automation')
  token
    .command('create <name>')
    .description('make an admin token; it is shown once')
    .requiredOption('-r, --role <role...>', 'viewer, operator, policy_author, approver, auditor, admin')
    .option('-z, --zone <zone>', 'for this zone only; default: every zone')
    .option('--days <n>', 'how long it lives', '90')
    .option('--database', 'in the database of a compact deployment (DB_HOST, …), where no token exists to ask the API with', false)
    .action(async (name, options) =>
      (await import('./commands/token.ts')).createToken(here(), {
        name,
        roles: options.role,
        zone: options.zone,
        days: options.days,
        database: options.database,
      }),
    )
  caracal
    .command('mandate')
    .description('get a mandate with client credentials (CARACAL_CLIENT_ID, CARACAL_CLIENT_SECRET or its _FILE) and print it')
    .requiredOption('-r, --resource <identifier>', 'resource identifier (URI)')
    .option('-s, --scope <scopes>', 'scopes, separated by spaces; default: all that policy allows')
    .option('--ttl <seconds>', 'lifetime asked for')
    .option('--once', 'single use', false)
    .action(async (options) => (await import('./commands/mandate.ts')).printMandate(here(), options))

  caracal
    .command('usage')
    .description('what calls cost that budgets counted: one by one, newest first, or in sums')
    .option('-z, --zone <zone>', 'zone name or id')
    .option('--by <group>', 'sums by application, session, subject, resource, operation, day or hour')
    .option('--application <name>', 'of one application')
    .option('--resource <name>', 'of one resource')
    .option('--budget <name>', 'that one budget paid for')
    .option('--session <id>', 'of one session')
    .option('--subject <id>', 'on behalf of one subject')
    .option('--from <time>', 'from this day or moment on (UTC)')
    .option('--to <time>', 'before this day or moment (UTC)')
    .option('--limit <n>', 'at most so many lines', '100')
    .action(async (options) => (await import('./commands/usage.ts')).usage(here(), options))

  caracal
    .command('canary')
    .description('walk the whole path once: exchange, governed call, evidence, proof, refusal, revocation')
    .option('--listen <host:port>', 'where its own upstream listens; default: this machine, any free port')
    .option('--upstream <url>', 'how the Gateway reaches that upstream, when not by the address it listens on')
    .action(async (options) => (await import('./commands/canary.ts')).canary(here(), options))
  caracal
    .command('explain <request-id>')
    .description('why a request was allowed or refused')
    .option('-z, --zone <zone>', 'zone name or id')
    .action(async (requestId, options) => (await import('./commands/explain.ts')).explain(here(), { requestId, zone: options.zone }))

  const audit = caracal.command('audit').description('evidence')
  audit
    .command('verify')
    .description('verify a bundle offline, or the whole log of a zone')
    .option('-z, --zone <zone>', 'zone name or id')
    .option('--bundle <file>', 'an exported bundle')
    .option('--key <vkey>', 'public key of the log, or a file that holds it')
    .option('--checkpoint <file>', 'a checkpoint that was kept: what is verified must extend it')
    .option('--whole', 'a bundle that claims less than the whole log is a finding', false)
    .action(async (options) => (await import('./commands/audit.ts')).verify(here(), options))
  audit
    .command('export')
    .description('write a signed evidence bundle to a file')
    .requiredOption('-o, --output <file>', 'where to')
    .option('-z, --zone <zone>', 'zone name or id')
    .option('--from <index>', 'first log index')
    .option('--to <index>', 'log index after the last')
    .action(async (options) => (await import('./commands/audit.ts')).exportBundle(here(), { ...options, file: options.output }))

  addOperatorCommands(caracal, here)
  const db = caracal.command('db').description('the database schema')
  db.command('init')
    .description('version table and what needs elevated rights; any number of times')
    .option('--roles', 'only the roles of the services, before a dump is restored on a new server', false)
    .action(async (options) => (await import('./commands/db.ts')).dbInit(here(), options))
  const migrate = db.command('migrate').description('migrations; forward only')
  migrate
    .command('up')
    .description('apply all pending migrations')
    .option('--preflight', 'first look whether the stores are what they must be; one line for each step, JSON in a pipe', false)
    .option('--replicas <role=n...>', 'with --preflight: most replicas of sts, api, audit, coordinator', [])
    .option('--pool <role=n...>', 'with --preflight: DATABASE_POOL of a role', [])
    .action(async (options) => (await import('./commands/db.ts')).dbMigrateUp(here(), options))
  for (const parent of [db, migrate]) {
    parent
      .command('status')
      .description('what is applied and what is pending, and whether this version can work with it')
      .action(async () => (await import('./commands/db.ts')).dbStatus(here()))
  }
  migrate
    .command('down')
    .description('does not exist: migrations only go forward')
    .action(() => {
      throw new CliError(
        'Migrations only go forward.',
        'Roll forward with a corrected version; `caracal db status` shows where the schema is.',
        { exitCode: 2 },
      )
    })
  return caracal
}

function readVersion(): string {
  const { version } = JSON.parse(readFileSync(join(import.meta.dirname, '../package.json'), 'utf8')) as { version: string }
  return version
}

/** Destructive commands ask on a terminal and want `--yes` in a pipe. */
async function confirm(options: { yes: boolean; dryRun: boolean }, act: string): Promise<void> {
  if (options.yes || options.dryRun) return
  if (!process.stdin.isTTY) throw new CliError(`This would ${act}.`, 'Repeat it with --yes, or look first with --dry-run.', { exitCode: 2 })
  const { confirm: ask, isCancel } = await import('@clack/prompts')
  const answer = await ask({ message: `Really ${act}?`, initialValue: false })
  if (isCancel(answer) || !answer) throw new CliError('Nothing was changed.')
}

function report(error: unknown, json: boolean): number {
  if (error instanceof CommanderError) {
    const exitCode = error.exitCode === 0 ? 0 : 2
    if (json && exitCode !== 0) tellAsJson({ message: error.message.replace(/^error: /, ''), code: error.code, exitCode })
    return exitCode
  }
  if (json) {
    const { message, exitCode, code, fix, lines } = error instanceof CliError ? error : new CliError(String(error))
    tellAsJson({ message, code, fix, lines, exitCode })
    return exitCode
  }
  const red = (text: string) => colour('red', text)
  if (error instanceof CliError) {
    process.stderr.write(`${red('error:')} ${error.message}\n`)
    for (const line of error.lines) process.stderr.write(`  ${line}\n`)
    if (error.fix) process.stderr.write(`${error.fix}\n`)
    return error.exitCode
  }
  process.stderr.write(`${red('error:')} ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
  return 1
}

function tellAsJson({
  exitCode,
  ...error
}: { readonly message: string; readonly exitCode: number } & Readonly<Record<string, unknown>>): void {
  process.stderr.write(`${JSON.stringify({ error: { ...error, exit_code: exitCode } })}\n`)
}

if (import.meta.main) {
  // From the second start on nothing is parsed and stripped again.
  enableCompileCache()
  surviveClosedPipes()
  program()
    .parseAsync()
    .then(
      () => undefined,
      (error: unknown) => {
        process.exitCode = report(error, process.argv.includes('--json'))
      },
    )
}
