import { type CallDependencies, type Could, couldCall, type Standing } from '@caracal/enforcement'

/** Whether the caller could call this; of a URI template, some resource that it stands for. */
export function couldUse(standing: Standing, method: string, name: string, dependencies: CallDependencies): Could {
  if (method !== 'resources/templates/list') return couldCall(standing, method, name, dependencies)
  const scoped: Could[] = []
  for (const uri of examplesOf(name, standing)) {
    const could = couldCall(standing, 'resources/read', uri, dependencies)
    if (could.could === 'yes') return could
    scoped.push(could)
  }
  return scoped.find(({ could }) => could === 'scope') ?? { could: 'no' }
}

/**
 * URIs that a template stands for, one for each declared operation that it could fall under: the text before its first variable, and
 * what of an operation's beginning goes further.
 */
function examplesOf(template: string, { resource }: Standing): string[] {
  const fixed = template.split('{', 1)[0] ?? ''
  if (fixed === template) return [template]
  if (resource.operations.length === 0) return [`${fixed}x`]
  return resource.operations.flatMap(({ path }) => {
    if (!path.endsWith('*')) return path.startsWith(fixed) ? [path] : []
    const beginning = path.slice(0, -1)
    if (fixed.startsWith(beginning)) return [`${fixed}x`]
    return beginning.startsWith(fixed) ? [`${beginning}x`] : []
  })
}
