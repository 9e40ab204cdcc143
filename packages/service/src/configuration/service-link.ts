/** What Kubernetes sets for a Service beside the pods of its namespace (`enableServiceLinks`), by name and value. */
const LINKS: readonly (readonly [RegExp, RegExp])[] = [
  [/_PORT$/, /^(?:tcp|udp|sctp):\/\//],
  [/_PORT_\d+_(?:TCP|UDP|SCTP)$/, /^(?:tcp|udp|sctp):\/\//],
  [/_PORT_\d+_(?:TCP|UDP|SCTP)_(?:PROTO|PORT|ADDR)$/, /./],
  [/_SERVICE_HOST$/, /^[0-9a-fA-F.:]+$|^None$/],
  [/_SERVICE_PORT(?:_[A-Z0-9_]+)?$/, /^\d+$/],
]

/** Whether this variable is a Service link: it neither sets nor breaks anything (P-143). */
export function isServiceLink(name: string, value: string): boolean {
  return LINKS.some(([names, values]) => names.test(name) && values.test(value))
}
