import type { Argument, Command, Option } from 'commander'
import { program } from '../../../apps/cli/src/main.ts'
import { code, generatedFrom, page, table } from './markdown.ts'

/** Every command with its arguments and options, from the program itself. */
export function cliPage(): string {
  const caracal = program()
  const commands = leaves(caracal)
  return page(
    '# The `caracal` command',
    generatedFrom('`apps/cli/src/main.ts`'),
    `In a clone: \`npx caracal\`. Without other settings it speaks to the \`caracal up\` of this folder, whose addresses and admin token it
finds in \`.caracal/\` (or \`CARACAL_HOME\`). To speak to another installation set \`CARACAL_API_URL\`, \`CARACAL_STS_URL\`,
\`CARACAL_GATEWAY_URL\`, \`CARACAL_AUDIT_URL\`, \`CARACAL_COORDINATOR_URL\` and \`CARACAL_TOKEN_FILE\` (or \`CARACAL_TOKEN\`).`,
    `Exit codes: 0 done, 1 refused or failed, 2 wrong use, 3 migrations pending and 4 a schema that this version cannot work with (\`db status\`), 3 a rollout that has to stop (\`rollout check\`), 78 wrong configuration (\`serve\`).
Where there are several zones, \`--zone\` says which one; without it \`get\` and \`explain\` look in all of them. Everything takes \`--json\`, which goes before the command:
\`caracal --json get zones\`. What went wrong is JSON too then, on standard error. \`delete\` and \`revoke\` show with \`--dry-run\` what they would do, ask on a terminal,
and want \`--yes\` in a script. Secrets come from files or, for \`-\`, from standard input; a file that others can read is refused.`,
    table(
      ['Command', 'Does'],
      commands.map(({ command, path }) => [`[${code(path)}](#${anchor(path)})`, command.description()]),
    ),
    ...commands.map(({ command, path }) => section(command, path)),
  )
}

type Leaf = { readonly command: Command; readonly path: string }

function leaves(command: Command, path: readonly string[] = [command.name()]): Leaf[] {
  return command.commands.flatMap((child) => {
    const here = [...path, child.name()]
    return child.commands.length > 0 ? leaves(child, here) : [{ command: child, path: here.join(' ') }]
  })
}

function anchor(path: string): string {
  return path.replaceAll(' ', '-')
}

function section(command: Command, path: string): string {
  const usage = [path, ...command.registeredArguments.map(argumentText), command.options.length > 0 ? '[options]' : '']
    .filter(Boolean)
    .join(' ')
  const parts = [`## ${path}`, `\`\`\`text\n${usage}\n\`\`\``, `${sentence(command.description())}`]
  if (command.options.length > 0) parts.push(table(['Option', 'Means', 'Default'], command.options.map(optionRow)))
  return parts.join('\n\n')
}

function argumentText(argument: Argument): string {
  return argument.required ? `<${argument.name()}>` : `[${argument.name()}]`
}

function optionRow(option: Option): string[] {
  const value = option.defaultValue
  const shown = option.mandatory ? 'required' : value === undefined || typeof value === 'boolean' ? '' : code(String(value))
  return [code(option.flags), option.description, shown]
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`
}
