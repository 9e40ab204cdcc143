-- Mandates on their way from the run that mints them to the run that uses them: records of 2,048 bytes in a pipe of the system,
-- so that each is read whole, by one reader, once. Both ends give up when the measured time is over.
local ffi = require 'ffi'
ffi.cdef [[
  struct bench_poll { int fd; short events; short revents; };
  int open(const char *path, int flags, ...);
  long read(int fd, void *buffer, size_t size);
  long write(int fd, const void *buffer, size_t size);
  int poll(struct bench_poll *polled, unsigned long count, int timeout);
  int fcntl(int fd, int command, ...);
  int usleep(unsigned int micros);
]]
local SIZE, O_RDWR, O_NONBLOCK, F_SETPIPE_SZ, POLLIN, POLLOUT = 2048, 2, 2048, 1031, 1, 4
local polled, buffer = ffi.new('struct bench_poll'), ffi.new('char[?]', SIZE)

-- `deadline`: when nothing is waited for any more, on the monotonic clock.
function open_records(path, deadline)
  local fd = ffi.C.open(path, O_RDWR + O_NONBLOCK)
  if fd < 0 then error('cannot open ' .. path) end
  -- Sixteen mandates wait at most: who mints is held up by who uses, and the other way round.
  ffi.C.fcntl(fd, F_SETPIPE_SZ, ffi.cast('int', 32768))
  local function wait(events)
    if monotonic() > deadline then return false end
    polled.fd, polled.events, polled.revents = fd, events, 0
    ffi.C.poll(polled, 1, 20)
    return true
  end
  local records = {}
  function records.put(text)
    ffi.fill(buffer, SIZE)
    ffi.copy(buffer, text)
    while ffi.C.write(fd, buffer, SIZE) ~= SIZE do if not wait(POLLOUT) then return false end end
    return true
  end
  function records.take()
    while ffi.C.read(fd, buffer, SIZE) ~= SIZE do if not wait(POLLIN) then return nil end end
    return ffi.string(buffer)
  end
  return records
end
