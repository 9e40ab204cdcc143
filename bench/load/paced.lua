-- The same request at a given rate, whatever the answers take (open loop): each call waits for the next place in the timetable.
-- Places that no connection was free for are counted as `late`; the timer of wrk has a resolution of a millisecond.
if not monotonic then dofile(os.getenv('BENCH_LOAD') .. '/report.lua') end
counters = { 'late' }
late = 0
local gap = 1e6 / tonumber(os.getenv('BENCH_RATE'))
local place

function delay()
  local now = monotonic()
  place = place and place + gap or now
  local ahead = (place - now) / 1000
  if ahead < -5 then late = late + 1 end
  if ahead < -100 then place = now end
  return ahead > 0 and math.floor(ahead + 0.5) or 0
end
