import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Where one cluster lives: everything it writes is below `folder`, everything it listens on is in the network namespace. */
export type Place = {
  readonly folder: string
  readonly networkNamespace: string
}

/** The only address of the node; from the range for documentation, so it is nobody's. */
export const NODE_ADDRESS = '192.0.2.1'
/** What a cloud's load balancer would have; nobody's either. */
export const LOAD_BALANCER = '192.0.2.77'
export const NODE_NAME = 'node-1'
export const POD_RANGE = '10.244.0.0/16'
export const SERVICE_RANGE = '10.96.0.0/16'
export const DNS_SERVICE = '10.96.0.10'

/** Names of the stores outside the pods, as a cloud would give them. */
export const POSTGRES_HOST = 'postgres.stores.test'
export const REDIS_HOST = 'redis.stores.test'

/** Two clusters side by side would share the node's cgroups; there is one per machine. */
export const place: Place = {
  folder: process.env.CARACAL_CLUSTER_FOLDER ?? join(tmpdir(), 'caracal-cluster'),
  networkNamespace: 'caracal-cluster',
}

export const inFolder = (...parts: readonly string[]): string => join(place.folder, ...parts)
export const repository = join(import.meta.dirname, '../..')
