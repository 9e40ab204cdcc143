import { chmodSync, mkdirSync, rmSync } from 'node:fs'
import { inFolder, NODE_NAME } from './place.ts'
import { run, tool } from './processes.ts'

const COUNT = 24
const name = (index: number): string => `volume-${index}`

const volume = (index: number) => ({
  apiVersion: 'v1',
  kind: 'PersistentVolume',
  metadata: { name: name(index) },
  spec: {
    capacity: { storage: '10Gi' },
    accessModes: ['ReadWriteOnce'],
    storageClassName: 'node',
    persistentVolumeReclaimPolicy: 'Retain',
    local: { path: inFolder('volumes', name(index)) },
    nodeAffinity: {
      required: { nodeSelectorTerms: [{ matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: [NODE_NAME] }] }] },
    },
  },
})

const STORAGE_CLASS = {
  apiVersion: 'storage.k8s.io/v1',
  kind: 'StorageClass',
  metadata: { name: 'node', annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } },
  provisioner: 'kubernetes.io/no-provisioner',
  volumeBindingMode: 'WaitForFirstConsumer',
}

/** Volumes on the node's disk that claims are bound to. Those whose claim is gone are made empty and free again. */
export function offerVolumes(): void {
  const kubectl = tool('kubectl')
  const released = run([kubectl, 'get', 'pv', '-o', 'jsonpath={range .items[?(@.status.phase=="Released")]}{.metadata.name}{"\\n"}{end}'])
  for (const gone of released.split('\n').filter(Boolean)) {
    run([kubectl, 'delete', 'pv', gone, '--wait'])
    rmSync(inFolder('volumes', gone), { recursive: true, force: true })
  }
  const indexes = Array.from({ length: COUNT }, (_, index) => index)
  for (const index of indexes) {
    mkdirSync(inFolder('volumes', name(index)), { recursive: true })
    chmodSync(inFolder('volumes', name(index)), 0o755)
  }
  const items = [STORAGE_CLASS, ...indexes.map(volume)]
  run([kubectl, 'apply', '-f', '-'], { input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items }) })
}
