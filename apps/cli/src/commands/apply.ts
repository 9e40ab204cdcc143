import { readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { isScalar, LineCounter, parseAllDocuments, visit } from 'yaml'
import { callService } from '../api-client.ts'
import { CliError } from '../cli-error.ts'
import { colour, table } from '../output.ts'
import { readSecretFile } from '../secret-file.ts'
import type { CommandContext } from './command.ts'

export type ApplyOptions = { readonly files: readonly string[]; readonly plan: boolean; readonly activate: boolean }

type PlanStep = {
  readonly action: 'create' | 'update' | 'unchanged' | 'revoked' | 'activate'
  readonly kind: string
  readonly zone: string | null
  readonly name: string
  readonly changes: readonly string[]
}

export type ApplyAnswer = { readonly applied: boolean; readonly steps: readonly PlanStep[]; readonly warnings: readonly string[] }

type SourceFile = { readonly file: string; readonly text: string }

/** Applies a set of YAML documents as a whole, or says what applying them would change. */
export async function apply({ output, context, env }: CommandContext, options: ApplyOptions): Promise<ApplyAnswer> {
  const documents = options.files.flatMap(readDocuments)
  if (documents.length === 0) throw new CliError(`No .yaml file in ${options.files.join(', ')}.`, undefined, { exitCode: 2 })
  const where = context()
  const answer = await callService<ApplyAnswer>(where.api, where.token, '/v1/apply', {
    body: { mode: options.plan ? 'plan' : 'apply', activate: options.activate, documents, secrets: collectSecrets(documents, env) },
  })
  if (output.json) output.line(JSON.stringify(answer))
  else for (const line of describe(answer)) output.line(line)
  return answer
}

function readDocuments(path: string): SourceFile[] {
  const paths = statSync(path, { throwIfNoEntry: false })?.isDirectory()
    ? readdirSync(path)
        .filter((name) => /\.ya?ml$/.test(name))
        .sort()
        .map((name) => join(path, name))
    : [path]
  return paths.map((file) => {
    try {
      return { file, text: readFileSync(file, 'utf8') }
    } catch (error) {
      throw new CliError(`${file} cannot be read: ${error instanceof Error ? error.message : error}`, undefined, { exitCode: 2 })
    }
  })
}

/** Values of `{ fromEnv }` and `{ fromFile }`: read here, because only this side has them, and sent apart from the documents. */
function collectSecrets(documents: readonly SourceFile[], env: NodeJS.ProcessEnv): Record<string, string> {
  const secrets: Record<string, string> = {}
  const problems: string[] = []
  for (const { file, text } of documents) {
    const lines = new LineCounter()
    for (const document of parseAllDocuments(text, { lineCounter: lines })) {
      if ('empty' in document) continue
      visit(document, {
        Pair: (_, pair) => {
          const key = String((pair.key as { value?: unknown } | null)?.value ?? '')
          if (!isScalar(pair.value) || typeof pair.value.value !== 'string') return
          const { value } = pair.value
          const { line, col } = lines.linePos(pair.value.range?.[0] ?? 0)
          const place = `${file}:${line}:${col}  secret.${key}`
          if (key === 'fromEnv') {
            const found = env[value]
            if (found) secrets[`env:${value}`] = found
            else problems.push(`${place}  the environment variable ${value} is not set`)
          } else if (key === 'fromFile') {
            try {
              secrets[`file:${value}`] = readSecretFile(resolve(dirname(file), value), `the file ${value}`)
            } catch (error) {
              problems.push(`${place}  ${error instanceof CliError ? [error.message, error.fix].filter(Boolean).join(' ') : error}`)
            }
          }
        },
      })
    }
  }
  if (problems.length > 0)
    throw new CliError('Secrets that the documents name are missing; nothing was applied.', undefined, { lines: problems })
  return secrets
}

const MARKS = { create: '+', update: '~', unchanged: '=', revoked: '!', activate: '>' } as const
const COLOURS = { create: 'green', update: 'yellow', unchanged: 'dim', revoked: 'red', activate: 'cyan' } as const

function describe(answer: ApplyAnswer): string[] {
  const rows = answer.steps.map((step) => [
    `${MARKS[step.action]} ${step.action}`,
    step.kind,
    step.zone ? `${step.zone}/${step.name}` : step.name,
    step.changes.join('; '),
  ])
  const lines = table(['action', 'kind', 'name', 'change'], rows)
  const coloured = lines.map((line, index) => {
    const step = answer.steps[index - 1]
    return step === undefined ? line : colour(COLOURS[step.action], line)
  })
  const changed = answer.steps.filter(({ action }) => action !== 'unchanged' && action !== 'revoked').length
  const summary = answer.applied
    ? `${changed} changed, ${answer.steps.length - changed} unchanged`
    : `plan only: ${changed} would change; nothing was written`
  return [...coloured, ...answer.warnings.map((warning) => `warning: ${warning}`), summary]
}
