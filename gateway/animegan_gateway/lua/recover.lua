-- Puts the jobs back whose leases were not renewed for so many ms; returns them.
local lease_ms = ARGV[1]
if redis.call('EXISTS', LEASES) == 0 then return {} end

local jobs = {}
local stale = redis.call('XPENDING', LEASES, GROUP, 'IDLE', lease_ms, '-', '+', redis.call('XLEN', LEASES))
for _, pending in ipairs(stale) do
  local entry = redis.call('XRANGE', LEASES, pending[1], pending[1])[1]
  local id = entry[2][2]
  change(read(id), 'queued')
  table.insert(jobs, redis.call('HGETALL', job_key(id)))
end
-- Each gateway is a consumer under a name of its own, and Redis forgets none by itself.
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', LEASES, GROUP)) do
  local name, pending, idle_ms = consumer[2], consumer[4], consumer[6]
  if pending == 0 and idle_ms >= tonumber(lease_ms) then redis.call('XGROUP', 'DELCONSUMER', LEASES, GROUP, name) end
end
return jobs
