/** The version of this release, as `/version`, metrics and the record of migrations say it. */
export const RELEASE = '0.1.0'
