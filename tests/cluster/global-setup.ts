import { startCluster, stopCluster } from './cluster.ts'
import { place } from './place.ts'

/** A cluster for the suites, ended after them; CARACAL_CLUSTER=keep leaves it for the next run. */
export async function setup(): Promise<() => Promise<void>> {
  await startCluster((step) => process.stderr.write(`cluster: ${step}\n`))
  return async () => {
    if (process.env.CARACAL_CLUSTER === 'keep') process.stderr.write(`the cluster stays: ${place.folder}\n`)
    else await stopCluster()
  }
}
