-- Puts the jobs back whose leases were not renewed for so many ms; returns them.
local lease_ms = tonumber(ARGV[1])
if redis.call('EXISTS', LEASES) == 0 then return {} end

local jobs = {}
for _, pending in ipairs(redis.call('XPENDING', LEASES, GROUP, '-', '+', redis.call('XLEN', LEASES))) do
  local lease, owner, idle_ms = unpack(pending)
  if idle_ms == 0 then -- renewed this moment, or in what is the future now that the clock was set back: it begins anew
    redis.call('XCLAIM', LEASES, GROUP, owner, 0, lease, 'JUSTID')
  elseif idle_ms >= lease_ms then
    local entry = redis.call('XRANGE', LEASES, lease, lease)[1]
    local id = entry[2][2]
    change(read(id), 'queued')
    redis.call('HINCRBY', job_key(id), 'lost', 1)
    redis.call('HSET', job_key(id), 'alone', 1)
    table.insert(jobs, redis.call('HGETALL', job_key(id)))
  end
end
-- Each gateway is a consumer under a name of its own, and Redis forgets none by itself.
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', LEASES, GROUP)) do
  local name, pending, idle_ms = consumer[2], consumer[4], consumer[6]
  if pending == 0 and idle_ms >= lease_ms then redis.call('XGROUP', 'DELCONSUMER', LEASES, GROUP, name) end
end
return jobs
