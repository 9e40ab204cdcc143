/** A Markdown table; cells are made safe for it. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`
  return [line(head), `|${head.map(() => '---').join('|')}|`, ...rows.map(line)].join('\n')
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ')
}

/** Code in a line; empty stays empty. */
export function code(text: string): string {
  if (text === '') return ''
  return text.includes('`') ? `\`\` ${text} \`\`` : `\`${text}\``
}

/** Paragraphs, each set apart by one blank line, ending in one newline. */
export function page(...parts: readonly string[]): string {
  return `${parts.join('\n\n')}\n`
}

/** What stands on top of every generated page, below its title. */
export function generatedFrom(source: string): string {
  return `<!-- Made by docs/reference/generate.ts from ${source}. Change that and run \`make reference\`. -->`
}
