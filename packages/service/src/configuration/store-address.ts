import { ConfigurationError, type ConfigurationProblem, type Mode } from './define-configuration.ts'
import { placeholder } from './placeholder.ts'

/** What stands in the chart's values until somebody says where a store is. */
const SENTINELS = new Set(['postgres.default.svc.cluster.local', 'redis.default.svc.cluster.local'])
const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\]|0\.0\.0\.0|\[::\])$/i

export type Surroundings = { readonly CARACAL_MODE: Mode; readonly POD_NAME: string | undefined }

/**
 * What is wrong with the address of a store, beside its form: a host that stands for nobody, a pod that looks for the store in itself, a
 * placeholder as password, a Redis that lets everybody in. In dev anything goes. Never says the URL.
 */
export function storeAddressProblems(
  name: 'DATABASE_URL' | 'REDIS_URL',
  url: string,
  { CARACAL_MODE, POD_NAME }: Surroundings,
): readonly ConfigurationProblem[] {
  const parsed = URL.parse(url)
  if (CARACAL_MODE === 'dev' || parsed === null) return []
  const rules: string[] = []
  const local = parsed.hostname === '' || LOOPBACK.test(parsed.hostname)
  if (SENTINELS.has(parsed.hostname)) rules.push('names the host that stands in the values for none: say where the store is')
  if (local && POD_NAME !== undefined) rules.push('names the pod itself: no store runs in it')
  const password = decodeURIComponent(parsed.password)
  if (password !== '' && placeholder(password)) rules.push('has a placeholder as password: put the real one there')
  if (name === 'REDIS_URL' && password === '' && !local) rules.push('has no password: whoever reaches Redis would command it')
  return rules.map((rule) => ({ name, rule }))
}

/** @throws ConfigurationError */
export function demandStoreAddress(name: 'DATABASE_URL' | 'REDIS_URL', url: string, surroundings: Surroundings): void {
  const problems = storeAddressProblems(name, url, surroundings)
  if (problems.length > 0) throw new ConfigurationError(problems)
}
