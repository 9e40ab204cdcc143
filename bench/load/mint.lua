-- Asks a token endpoint for mandates, as one application after the other; what comes goes to a pipe or a file, if one is named.
local folder = os.getenv('BENCH_LOAD')
dofile(folder .. '/report.lua')
dofile(folder .. '/records.lua')
counters = { 'minted', 'refused' }
minted, refused = 0, 0
local requests, at = {}, 0
local keep

function init()
  local body = os.getenv('BENCH_FORM')
  for credential in io.lines(os.getenv('BENCH_CREDENTIALS')) do
    local headers = { Authorization = 'Basic ' .. credential, ['Content-Type'] = 'application/x-www-form-urlencoded' }
    requests[#requests + 1] = wrk.format('POST', nil, headers, body)
  end
  local pipe, file = os.getenv('BENCH_PIPE'), os.getenv('BENCH_FILE')
  if pipe then
    keep = open_records(pipe, monotonic() + tonumber(os.getenv('BENCH_SECONDS')) * 1e6).put
  elseif file then
    local lines = io.open(file, 'a')
    keep = function(token) lines:write(token, '\n') end
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function response(status, _, body)
  local token = status == 200 and body:match('"access_token":"([^"]+)"')
  if not token then
    refused = refused + 1
    if refused == 1 then io.stderr:write('refused: ', status, ' ', body, '\n') end
  else
    minted = minted + 1
    if keep then keep(token) end
  end
end
