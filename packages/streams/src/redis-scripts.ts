/** Lua that runs in Redis where several commands must be one. Keys of one script share their hash slot. */

/** Fields of `XINFO STREAM`, and the order of two entry ids. */
const LAST_ID = `
local function last_id(key)
  if redis.call('EXISTS', key) == 0 then return '0-0' end
  local info = redis.call('XINFO', 'STREAM', key)
  for i = 1, #info, 2 do if info[i] == 'last-generated-id' then return info[i + 1] end end
end
`

const HEAD = `
local function head(key, fresh)
  -- Written only where it is missing: who reads needs no store that takes writes.
  local epoch = redis.call('HGET', key, 'epoch')
  if not epoch then
    redis.call('HSET', key, 'epoch', fresh)
    epoch = fresh
  end
  return epoch, tonumber(redis.call('HGET', key, 'count') or '0')
end
`

/**
 * Keys: stream, head. Arguments: new epoch, oldest age to keep (ms), payload, key id, MAC.
 * Every message carries the epoch of the stream and its number in it, so that a reader sees what is missing.
 */
export const PUBLISH = `${HEAD}
local epoch = head(KEYS[2], ARGV[1])
local count = redis.call('HINCRBY', KEYS[2], 'count', 1)
local time = redis.call('TIME')
local oldest = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(ARGV[2]))
local id = redis.call('XADD', KEYS[1], 'MINID', '~', oldest, '*', 'e', epoch, 'n', count, 'h', '0', 'p', ARGV[3], 'k', ARGV[4], 'm', ARGV[5])
return {id, count, epoch}
`

/**
 * Keys: stream, head. Arguments: new epoch, shortest distance between two (ms), payload, key id, MAC.
 * A heartbeat carries the number of the last message and takes the place of the heartbeat before it: memory stays flat.
 */
export const BEAT = `${HEAD}
local epoch, count = head(KEYS[2], ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local beat = redis.call('HMGET', KEYS[2], 'beat', 'beat_at')
if beat[1] and now - tonumber(beat[2]) >= 0 and now - tonumber(beat[2]) < tonumber(ARGV[2]) and redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local id = redis.call('XADD', KEYS[1], '*', 'e', epoch, 'n', count, 'h', '1', 'p', ARGV[3], 'k', ARGV[4], 'm', ARGV[5])
if beat[1] then redis.call('XDEL', KEYS[1], beat[1]) end
redis.call('HSET', KEYS[2], 'beat', id, 'beat_at', string.format('%.0f', now))
return 1
`

/** Keys: stream, head. Arguments: new epoch. Where the stream ends: last id, number, epoch. */
export const TIP = `${HEAD}${LAST_ID}
local epoch, count = head(KEYS[2], ARGV[1])
return {last_id(KEYS[1]), count, epoch}
`

/** As TIP, and first whether there is an entry after the id in the second argument. */
export const LOOK = `${HEAD}${LAST_ID}
local epoch, count = head(KEYS[2], ARGV[1])
local more = #redis.call('XRANGE', KEYS[1], '(' .. ARGV[2], '+', 'COUNT', 1)
return {more, last_id(KEYS[1]), count, epoch}
`

/** Keys: work stream. Removes what every group has acknowledged and nothing else (P-115). Returns how many. */
export const TRIM = `
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end
local floor_ms, floor_seq
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local at = {}
  for i = 1, #group, 2 do at[group[i]] = group[i + 1] end
  local ms, seq
  if at['pending'] > 0 then
    ms, seq = parts(redis.call('XPENDING', KEYS[1], at['name'])[2])
  else
    ms, seq = parts(at['last-delivered-id'])
    seq = seq + 1
  end
  if not floor_ms or ms < floor_ms or (ms == floor_ms and seq < floor_seq) then floor_ms, floor_seq = ms, seq end
end
if not floor_ms then return 0 end
return redis.call('XTRIM', KEYS[1], 'MINID', '=', string.format('%.0f-%.0f', floor_ms, floor_seq))
`

/** Keys: work stream, quarantine. Arguments: group, entry id, then fields. Once per entry, however often it is said. */
export const SET_ASIDE = `
if redis.call('EXISTS', KEYS[1]) == 1 and redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
redis.call('XADD', KEYS[2], '*', unpack(ARGV, 3))
return 1
`

/** Keys: work stream, quarantine. Arguments: id in the quarantine. Puts it back as it was, with the seal it had. */
export const REDRIVE = `
local found = redis.call('XRANGE', KEYS[2], ARGV[1], ARGV[1])
if #found == 0 then return 0 end
local at = {}
for i = 1, #found[1][2], 2 do at[found[1][2][i]] = found[1][2][i + 1] end
redis.call('XADD', KEYS[1], '*', 't', at['t'], 'p', at['p'], 'k', at['k'], 'm', at['m'])
redis.call('XDEL', KEYS[2], ARGV[1])
return 1
`

/**
 * Keys: probe. Arguments: how long it stays (ms). The clock, and what a write is answered with: as text, because the client
 * would go and look for another primary when it meets the error itself.
 */
export const STANDING = `
local time = redis.call('TIME')
local written = redis.pcall('SET', KEYS[1], '1', 'PX', ARGV[1])
return {time[1], time[2], written.err or ''}
`

/** Keys: claim. Arguments: owner. */
export const RELEASE = `
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
`
