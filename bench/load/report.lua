-- What a run of wrk hands back: one line of JSON at its end. Times are microseconds.
-- Loaded by the scripts beside it; `counters` names the globals of the thread that are added.
local ffi = require 'ffi'
ffi.cdef [[
  struct bench_time { long seconds; long nanoseconds; };
  int clock_gettime(int clock, struct bench_time *time);
]]

counters = {}
local threads = {}
local time = ffi.new('struct bench_time')

-- Microseconds of a clock that never goes back.
function monotonic()
  ffi.C.clock_gettime(1, time)
  return tonumber(time.seconds) * 1e6 + tonumber(time.nanoseconds) / 1e3
end

function setup(thread)
  threads[#threads + 1] = thread
end

function done(summary, latency)
  local parts = {}
  local function add(name, value)
    parts[#parts + 1] = string.format('"%s":%.0f', name, value)
  end
  add('requests', summary.requests)
  add('micros', summary.duration)
  add('connect', summary.errors.connect)
  add('read', summary.errors.read)
  add('write', summary.errors.write)
  add('timeout', summary.errors.timeout)
  add('status', summary.errors.status)
  add('cpu', os.clock() * 1e6)
  for _, name in ipairs(counters) do
    local sum = 0
    for _, thread in ipairs(threads) do sum = sum + (thread:get(name) or 0) end
    add(name, sum)
  end
  for name, share in pairs({ p50 = 50, p90 = 90, p99 = 99, p999 = 99.9 }) do add(name, latency:percentile(share)) end
  io.write('BENCH {' .. table.concat(parts, ',') .. '}\n')
end
