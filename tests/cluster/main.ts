/**
 * `node tests/cluster/main.ts start` leaves a whole cluster running for a person, `stop` ends it and leaves nothing behind.
 * `make cluster` and `make cluster-stop` call it.
 */
import { startCluster, stopCluster } from './cluster.ts'
import { inFolder, place } from './place.ts'
import { databaseUrl, redisUrl } from './stores.ts'

const say = (line: string) => void process.stdout.write(`${line}\n`)
const command = process.argv[2]
if (command === 'start') {
  await startCluster((step) => say(`· ${step}`))
  say(`
A Kubernetes with one node is up. It has a network of its own: enter that first.

  nsenter --net=/run/netns/${place.networkNamespace} bash
  export KUBECONFIG=${inFolder('admin.conf')} PATH=${inFolder('bin')}:$PATH
  kubectl get nodes

kubectl and helm are there (Helm 3 in ${inFolder('bin-helm-3')}). The image is localhost/caracal:dev, and what the chart expects elsewhere is in
tests/cluster/values/small-node.yaml; under the chart's own name for it the image needs no more values than the production overlay. Outside the pods, with TLS of ${inFolder('pki/ca.crt')}:
  ${databaseUrl('caracal')}
  ${redisUrl(0)}

End it with \`make cluster-stop\`.`)
} else if (command === 'stop') {
  await stopCluster()
  say('the cluster is gone')
} else {
  process.stderr.write('usage: node tests/cluster/main.ts start|stop\n')
  process.exitCode = 2
}
