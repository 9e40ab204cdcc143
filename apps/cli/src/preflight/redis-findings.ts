import { examineRedis, type RedisFacts } from '@caracal/streams'
import { faultClass } from './fault-class.ts'
import { clockFinding, type Finding, fails, holds, warns } from './finding.ts'

const LEAST_VERSION = 7
/** What stands in the chart's values until somebody says where Redis is. */
const SENTINEL = 'redis.default.svc.cluster.local'

/** What holds of the Redis that carries the streams, one finding at a time. In dev what is unsafe only warns. */
export async function* redisFindings(url: string, passwordKey: string, dev: boolean): AsyncGenerator<Finding> {
  const parsed = URL.parse(url)
  if (parsed === null || !/^rediss?:$/.test(parsed.protocol)) {
    yield fails('redis_address', 'configuration', 'the Redis URL is not one', 'It begins with redis:// or rediss://.', { passwordKey })
    return
  }
  const facts = { host: parsed.hostname, port: Number(parsed.port || 6379), tls: parsed.protocol === 'rediss:', passwordKey }
  if (!dev && parsed.hostname === SENTINEL) {
    yield fails('redis_address', 'configuration', 'the host is the one that stands in the values for none', 'Say where Redis is.', facts)
    return
  }
  let found: RedisFacts
  try {
    found = await examineRedis(url)
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error)
    yield fails(
      'redis_connect',
      faultClass(error),
      `${facts.host}:${facts.port} cannot be used: ${words}`,
      `Look at ${passwordKey}.`,
      facts,
    )
    return
  }
  const strict = (finding: Finding) => (dev ? warns(finding) : finding)
  yield holds('redis_connect', `${facts.host}:${facts.port} answers`, facts)
  yield Number(found.version.split('.')[0]) >= LEAST_VERSION
    ? holds('redis_version', `Redis ${found.version}`, { version: found.version })
    : fails('redis_version', 'version', `Redis ${found.version} is older than ${LEAST_VERSION}`, `Use Redis ${LEAST_VERSION} or later.`, {
        version: found.version,
      })
  yield found.streams
    ? holds('redis_streams', 'streams and groups can be made, read and removed')
    : fails(
        'redis_streams',
        'privilege',
        'a stream could not be made and read',
        'Allow the stream commands on keys that begin with caracal:.',
      )
  yield found.open
    ? strict(
        fails(
          'redis_credentials',
          'auth',
          'whoever gives no password is let in',
          'Set requirepass or an ACL, and the password in the URL.',
        ),
      )
    : holds('redis_credentials', 'nobody is let in without a password')
  yield facts.tls
    ? holds('redis_tls', 'encrypted; certificate and host name verified')
    : warns(fails('redis_tls', 'tls', 'the connection is not encrypted', 'Use a rediss:// URL.'))
  yield found.evictionPolicy === 'noeviction'
    ? holds('redis_eviction', 'noeviction')
    : strict(
        fails(
          'redis_eviction',
          'configuration',
          `maxmemory-policy is ${found.evictionPolicy || 'not told'}`,
          'Set maxmemory-policy to noeviction: evicted keys are lost messages.',
          {
            evictionPolicy: found.evictionPolicy,
          },
        ),
      )
  yield found.appendOnly
    ? holds('redis_persistence', 'the append-only file is on')
    : warns(
        fails(
          'redis_persistence',
          'configuration',
          'the append-only file is off',
          'Turn it on, or know that the provider keeps the data in another way.',
        ),
      )
  yield clockFinding('redis_clock', found.at)
}
