import { type Command, Option } from 'commander'
import type { CommandContext } from './commands/command.ts'

/** Commands of those who install and operate: secrets before the install, checks before and during a rollout. */
export function addOperatorCommands(caracal: Command, here: () => CommandContext): void {
  const secrets = caracal.command('secrets').description('the runtime Secret')
  secrets
    .command('generate')
    .description('print the runtime Secret with fresh keys and tokens; stored nowhere else')
    .addOption(
      new Option(
        '-o, --output <form>',
        'manifest for kubectl apply (yaml is the same), or values for a chart that makes the Secret',
      ).default('manifest'),
    )
    .option('--profile <profile>', 'dev: the chart’s own Postgres without TLS, no Redis')
    .option('--with <key...>', 'optional keys: sts-admin-token, audit-admin-token, metrics-bearer', [])
    .option('--name <name>', 'name of the Secret', 'caracal-runtime')
    .option('-n, --namespace <namespace>', 'namespace of the Secret; default: that of kubectl')
    .option('--database-host <host>', 'where Postgres is')
    .option('--database-port <port>', 'its port', '5432')
    .option('--database-name <name>', 'its database', 'caracal')
    .option('--database-user <user>', 'who logs in', 'caracal')
    .option('--database-sslmode <mode>', 'verify-full, require, or disable with --profile dev; default: verify-full')
    .option('--database-password-file <file>', 'the password that exists already, or - for standard input; default: a new one')
    .option('--redis-host <host>', 'where Redis is')
    .option('--redis-port <port>', 'its port', '6379')
    .option('--redis-database <n>', 'its logical database', '0')
    .option('--redis-plaintext', 'no TLS; with --profile dev only', false)
    .option('--redis-password-file <file>', 'the password that exists already, or - for standard input; default: a new one')
    .option(
      '--keep <file>',
      'a Secret as kubectl prints it with -o json, or - for standard input: its values stay, what is missing is added',
    )
    .action(async (options) => (await import('./commands/secrets.ts')).generateSecrets(here(), options))

  caracal
    .command('preflight')
    .description('whether the stores, the Secret and the network are what an installation needs; changes nothing')
    .option('--replicas <role=n...>', 'most replicas of sts, api, audit, coordinator; one each unless said', [])
    .option('--pool <role=n...>', 'DATABASE_POOL of a role; 10 each unless said', [])
    .option('--secrets <folder>', 'where the runtime Secret is mounted: is every key there, is none weak')
    .option('--egress [host:port...]', 'dial what the environment names, and these')
    .action(async (options) => (await import('./commands/preflight.ts')).preflight(here(), options))

  caracal
    .command('kek')
    .description('the key that seals what is secret')
    .command('adopt')
    .description('after ZONE_KEK or DB_PASSWORD changed in a compact deployment: the new one opens it, given the former as …_PREVIOUS')
    .action(async () => (await import('./commands/kek.ts')).adopt(here()))

  caracal
    .command('ledger')
    .description('the log of evidence as it stands in the database')
    .command('restored')
    .description('after a dump was restored in a compact deployment: retires the keys of older mandates, tells the ledgers, lets it start')
    .action(async () => (await import('./commands/ledger.ts')).ledgerRestored(here()))

  const rollout = caracal.command('rollout').description('gates and stop conditions of a rollout on Kubernetes')
  rollout
    .command('check')
    .description('gate by gate whether a rollout may begin, go on, or is done; exit code 0 go, 3 stop, 1 cannot tell')
    .option('-n, --namespace <namespace>', 'where the release is', 'caracal')
    .option('-r, --release <release>', 'the Helm release', 'caracal')
    .option('--phase <phase>', 'pre, during or post', 'post')
    .option('--watch', 'beside helm upgrade: until it is done or has to stop', false)
    .option('--timeout <seconds>', 'how long --watch waits', '900')
    .option('--window <seconds>', 'between the two looks that show what grows', '60')
    .option('--prometheus <url>', 'where Prometheus answers')
    .option('--metrics-bearer-file <file>', 'the bearer that scrapes must carry')
    .option('--chart <folder>', 'with --phase pre: the chart that is going to be installed')
    .option('-f, --values <file...>', 'with --chart: values files', [])
    .option('--set <name=value...>', 'with --chart: single values', [])
    .option('--render <file>', 'with --phase pre: what helm template printed, in the place of --chart')
    .option('--service <role=url...>', 'metrics addresses of replicas: asks these and no cluster', [])
    .action(async (options) => (await import('./commands/rollout.ts')).rolloutCheck(here(), options))
  rollout
    .command('plan')
    .description('write down what a rollout would go back to, and whether the schema allows it; kept in the namespace')
    .option('-n, --namespace <namespace>', 'where the release is', 'caracal')
    .option('-r, --release <release>', 'the Helm release', 'caracal')
    .option('--backup-at <time>', 'when the last backup was made, as its provider says')
    .option('--drill-at <time>', 'when a restore was last tried')
    .option('--dry-run', 'print it and keep nothing', false)
    .action(async (options) => (await import('./commands/rollout.ts')).rolloutPlan(here(), options))
}
