import type { Redis } from 'ioredis'
import type { WantedClaim } from './wanted-claim.ts'

/**
 * Claims keys for their owners, each atomically: true when nobody had it, or this owner did. What is claimed in one turn of the
 * event loop goes to Redis in one write: under load a write, and the wake-up of Redis behind it, costs more than the claim does.
 */
export function redisClaims(redis: Redis): (key: string, owner: string, ttl: number) => Promise<boolean> {
  let wanted: WantedClaim[] = []

  function send(): void {
    const sent = wanted
    wanted = []
    const pipeline = redis.pipeline()
    for (const { key, owner, ttl } of sent) pipeline.set(key, owner, 'EX', Math.max(1, Math.ceil(ttl)), 'NX', 'GET')
    pipeline.exec().then(
      (answers) => {
        for (const [at, { owner, resolve, reject }] of sent.entries()) {
          const [error, holder] = answers?.[at] ?? [new Error('Redis gave no answer to a claim'), undefined]
          if (error) reject(error)
          else resolve(holder === null || holder === owner)
        }
      },
      (error) => {
        for (const { reject } of sent) reject(error)
      },
    )
  }

  return (key, owner, ttl) =>
    new Promise((resolve, reject) => {
      if (wanted.length === 0) setImmediate(send)
      wanted.push({ key, owner, ttl, resolve, reject })
    })
}
