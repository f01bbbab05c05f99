-- The next job that is due, leased to the owner; nothing where there is none.
local owner, idle, now, most_pause = unpack(ARGV)

-- The first that is due: those whose time has not come keep their places. No pause is longer than `most_pause`, unless
-- the clock was set back.
local function due()
  local place = 0
  while true do
    local member = redis.call('ZRANGE', LINE, place, place)[1]
    if not member then return nil end
    local job = read(string.sub(member, 18))
    local pause = tonumber(job.not_before or 0) - tonumber(now)
    if pause <= 0 or pause > tonumber(most_pause) then return job end
    place = place + 1
  end
end

local job = due()
if not job or (job.alone == '1' and idle ~= '1') then return false end

change(job, 'running')
-- Here and not once at the start: after a Redis that kept nothing the group is gone.
if redis.call('EXISTS', LEASES) == 0 then redis.call('XGROUP', 'CREATE', LEASES, GROUP, '$', 'MKSTREAM') end
local lease = redis.call('XADD', LEASES, '*', 'id', job.id)
redis.call('XREADGROUP', 'GROUP', GROUP, owner, 'COUNT', 1, 'STREAMS', LEASES, '>')
redis.call('HINCRBY', job_key(job.id), 'attempt', 1)
redis.call('HSET', job_key(job.id), 'started_at', now, 'lease', lease)
redis.call('HSET', FIGURES, 'turn', string.format('%d', math.max(figure('turn'), tonumber(job.turn))))
return redis.call('HGETALL', job_key(job.id))
