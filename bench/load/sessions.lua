-- Starts a session and ends it, over and over, as one application after the other.
-- BENCH_FILE has a line per application: its id, a blank, its mandate for the Coordinator.
dofile(os.getenv('BENCH_LOAD') .. '/report.lua')
counters = { 'began', 'ended', 'refused' }
began, ended, refused = 0, 0, 0
local starts, mandates, open, at = {}, {}, {}, 0

function init()
  for line in io.lines(os.getenv('BENCH_FILE')) do
    local application, mandate = line:match('^(%S+) (%S+)$')
    local headers = { Authorization = 'Bearer ' .. mandate, ['Content-Type'] = 'application/json' }
    starts[#starts + 1] = wrk.format('POST', nil, headers, '{"kind":"task","ttl":60}')
    mandates[application] = { Authorization = 'Bearer ' .. mandate }
  end
end

function request()
  local session = table.remove(open)
  if session then return wrk.format('POST', wrk.path .. '/' .. session.id .. '/end', mandates[session.application]) end
  at = at % #starts + 1
  return starts[at]
end

function response(status, _, body)
  if status == 201 then
    began = began + 1
    open[#open + 1] = { id = body:match('"id":"(ses_[^"]+)"'), application = body:match('"application":"(app_[^"]+)"') }
  elseif status == 200 then
    ended = ended + 1
  else
    refused = refused + 1
    if refused == 1 then io.stderr:write('refused: ', status, ' ', body, '\n') end
  end
end
