import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { type PostgresServer, type RedisServer, startPostgres, startRedis } from '@caracal/harness'
import type { Watched } from './processor-time.ts'

export type Stores = {
  readonly postgres: PostgresServer
  readonly redis: RedisServer
  readonly watched: Watched
  stop(): Promise<void>
}

/** Postgres as an installation has it: every commit on the disk; statements are counted. 512 MB of its own memory, the rest as delivered. */
const POSTGRES = {
  shared_preload_libraries: 'pg_stat_statements',
  shared_buffers: '512MB',
  max_wal_size: '4GB',
} as const

/** A real Postgres with fsync on, and a real Redis, both on loopback. */
export async function startStores(): Promise<Stores> {
  const [postgres, redis] = await Promise.all([startPostgres({ durable: true, settings: POSTGRES }), startRedis()])
  const postmaster = Number(readFileSync(join(postgres.dataDir, 'postmaster.pid'), 'utf8').split('\n')[0])
  return {
    postgres,
    redis,
    watched: [
      { name: 'postgres', pid: postmaster, withChildren: true },
      { name: 'redis', pid: await redisProcess(redis.port) },
    ],
    stop: async () => {
      await Promise.all([postgres.stop(), redis.stop()])
    },
  }
}

function redisProcess(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    let said = ''
    const socket = connect(port, '127.0.0.1', () => socket.write('INFO server\r\n'))
    socket.once('error', reject)
    socket.on('data', (data) => {
      said += String(data)
      const pid = /process_id:(\d+)/.exec(said)?.[1]
      if (pid === undefined) return
      socket.destroy()
      resolve(Number(pid))
    })
  })
}
