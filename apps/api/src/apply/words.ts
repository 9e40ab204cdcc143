import { canonicalJson, type Operation, type PolicyDocument } from '@caracal/core'

type Fields = Readonly<Record<string, unknown>>

/** What changes from one state of a row to the next, a line for each field. Only fields of `after` count. */
export function changesInWords(before: Fields, after: Fields): string[] {
  return Object.keys(after).flatMap((field) => {
    const [was, is] = [before[field], after[field]]
    if (canonicalJson(was ?? null) === canonicalJson(is ?? null)) return []
    if (field === 'operations') return operationChanges(was as readonly Operation[], is as readonly Operation[])
    return [`${field}: ${inWords(was)} → ${inWords(is)}`]
  })
}

function inWords(value: unknown): string {
  if (value === null || value === undefined) return '-'
  if (Array.isArray(value)) return value.length === 0 ? '-' : value.map(inWords).join(',')
  if (typeof value !== 'object') return value === '' ? '""' : String(value)
  return Object.entries(value)
    .map(([name, one]) => `${name}=${inWords(one)}`)
    .join(' ')
}

function operationChanges(before: readonly Operation[] = [], after: readonly Operation[] = []): string[] {
  const text = ({ method, path, scope, price }: Operation) =>
    `${method} ${path} (${scope}${price === undefined ? '' : `, ${price.amount} ${price.currency}${price.actual === undefined ? '' : ` or ${price.actual}`}`})`
  const [was, is] = [before.map(text), after.map(text)]
  const gone = was.filter((one) => !is.includes(one)).map((one) => `operation removed: ${one}`)
  const fresh = is.filter((one) => !was.includes(one)).map((one) => `operation added: ${one}`)
  return gone.length + fresh.length === 0 ? ['operations: in another order'] : [...gone, ...fresh]
}

/** Which rules of a policy come, go and change. */
export function ruleChanges(before: PolicyDocument | undefined, after: PolicyDocument): string[] {
  if (before === undefined) return []
  const [was, is] = [rulesById(before), rulesById(after)]
  return [
    ...[...was.keys()].filter((id) => !is.has(id)).map((id) => `rule removed: ${id}`),
    ...[...is.keys()].filter((id) => !was.has(id)).map((id) => `rule added: ${id}`),
    ...[...is].filter(([id, text]) => was.has(id) && was.get(id) !== text).map(([id]) => `rule changed: ${id}`),
  ]
}

function rulesById(document: PolicyDocument): Map<string, string> {
  return new Map(document.rules.map((rule) => [rule.id, canonicalJson(rule)]))
}
