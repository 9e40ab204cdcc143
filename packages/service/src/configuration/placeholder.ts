/** Words that stand where a secret should have been put (P-143). */
const PLACEHOLDER =
  /^(?:<.*>|\$\{.*\}|\{\{.*\}\}|x{3,}|\*+|(?:change|replace|set|fill|insert|put)[-_ ]?(?:me|this|it|in|here)?.*|placeholder.*|(?:your|my|the|a|some)[-_ ].*(?:secret|password|token|key).*|example.*|todo.*|secret|password|passw0rd|token|admin|test|dummy|none|null|undefined)$/i

export function placeholder(text: string): boolean {
  return PLACEHOLDER.test(text.trim()) || /^(.)\1*$/.test(text)
}
