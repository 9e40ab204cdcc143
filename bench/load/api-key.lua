-- The same request again and again, each with a nonce and the time: what replay protection asks for. The key is a header of the command line.
dofile(os.getenv('BENCH_LOAD') .. '/report.lua')
local made = 0
local prefix = string.format('%x-%x-', os.time(), tonumber(tostring({}):match('0x(%x+)'), 16) % 0xffffffff)
local before, middle, after, nonceFirst

function init()
  wrk.headers['X-Caracal-Nonce'] = '@'
  wrk.headers['X-Caracal-Timestamp'] = '#'
  local whole = wrk.format('GET')
  local nonce, time = whole:find('@', 1, true), whole:find('#', 1, true)
  local first, second = math.min(nonce, time), math.max(nonce, time)
  before, middle, after = whole:sub(1, first - 1), whole:sub(first + 1, second - 1), whole:sub(second + 1)
  nonceFirst = nonce < time
end

function request()
  made = made + 1
  local nonce, time = prefix .. string.format('%012d', made), tostring(os.time())
  if nonceFirst then return before .. nonce .. middle .. time .. after end
  return before .. time .. middle .. nonce .. after
end
