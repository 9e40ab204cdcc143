/** Prefix of a release's objects: the release's name, with the chart's when it does not hold it. */
export function fullnameOf(release: string): string {
  return (release.includes('caracal') ? release : `${release}-caracal`).slice(0, 34).replace(/-$/, '')
}
