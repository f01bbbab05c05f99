-- ARGV: the id, the next state, the states it may follow between commas, the attempt or nothing, the time, how many
-- runs are kept, then names and values of the fields that change. Returns the job as it is then, or nothing.
local id, to, allowed, attempt, now, runs = unpack(ARGV, 1, 6)

local job = read(id)
if not job.id or not string.find(allowed, ',' .. job.state .. ',', 1, true) then return false end
if attempt ~= '' and attempt ~= (job.attempt or '0') then return false end

local fields = {}
for at = 7, #ARGV, 2 do fields[ARGV[at]] = ARGV[at + 1] end
if not ACTIVE[to] and to ~= 'expired' then fields.finished_at = fields.finished_at or now end

change(job, to, to == 'expired' and now or fields.finished_at)
for name, value in pairs(fields) do redis.call('HSET', job_key(id), name, value) end
if to == 'done' then
  redis.call('PERSIST', blob_key(id .. '.' .. job.attempt))
  count('result_bytes', fields.result_bytes or 0)
end
if fields.run_s then
  redis.call('LPUSH', RUNS, job.work_px .. ':' .. fields.run_s)
  redis.call('LTRIM', RUNS, 0, runs - 1)
end
return redis.call('HGETALL', job_key(id))
