-- Calls with mandates that are used once each: out of a pipe that another run fills, or one after the other out of a file, round and round.
-- When no mandate comes any more it asks for `/livez` instead; those are counted as `idle` and are not calls.
local folder = os.getenv('BENCH_LOAD')
dofile(folder .. '/report.lua')
dofile(folder .. '/records.lua')
counters = { 'idle' }
idle = 0
local before, after, filler, take
-- wrk asks for one request when it starts, to look at it, and throws it away.
local looked = false

function init()
  filler = wrk.format('GET', '/livez')
  local whole = wrk.format('GET', nil, { Authorization = 'Bearer @' })
  before, after = whole:match('^(.*)@(.*)$')
  local pipe = os.getenv('BENCH_PIPE')
  if pipe then
    take = open_records(pipe, monotonic() + tonumber(os.getenv('BENCH_SECONDS')) * 1e6).take
  else
    local tokens, at = {}, 0
    for token in io.lines(os.getenv('BENCH_FILE')) do tokens[#tokens + 1] = token end
    take = function()
      at = at % #tokens + 1
      return tokens[at]
    end
  end
end

function request()
  local token = looked and take()
  if token then return before .. token .. after end
  if looked then
    idle = idle + 1
    require('ffi').C.usleep(5000)
  end
  looked = true
  return filler
end
