-- Every script begins with this. KEYS[1] is the prefix of all keys; its {tag} keeps them in one slot of a cluster.

local prefix = KEYS[1]
local LINE = prefix .. 'line'        -- sorted set: who waits, as arrival:id, by turn
local OLDEST = prefix .. 'oldest'    -- sorted set: who waits, by the time of acceptance
local LEASES = prefix .. 'leases'    -- stream: an entry for each running job; the group's pending entries are the leases
local ENDED = prefix .. 'ended'      -- sorted set: what ended and has not expired, by the time it did
local EXPIRED = prefix .. 'expired'  -- sorted set: what expired, by the time it did
local RUNS = prefix .. 'runs'        -- list: work_px:run_s of what was drawn, the newest first
local FIGURES = prefix .. 'figures'  -- hash: jobs by state, bytes, the last arrival, the turn taken last
local GROUP = 'gateways'
local ACTIVE = {queued = true, running = true}

local function job_key(id) return prefix .. 'job:' .. id end
local function blob_key(name) return prefix .. 'blob:' .. name end -- string: a picture, where Redis has them
local function share_key(caller) return prefix .. 'share:' .. caller end -- sorted set: held jobs of a caller, by turn
local function keys_key(caller) return prefix .. 'keys:' .. caller end   -- hash: a caller's idempotency keys

local function figure(name) return tonumber(redis.call('HGET', FIGURES, name) or 0) end
-- As a whole number: Lua writes zero taken away as -0, which Redis takes for none.
local function count(name, by) redis.call('HINCRBY', FIGURES, name, string.format('%d', by)) end
local function told(id) redis.call('PUBLISH', prefix .. 'changes', id) end

-- The job's hash as a table, without `id` where there is no such job.
local function read(id)
  local job, flat = {}, redis.call('HGETALL', job_key(id))
  for at = 1, #flat, 2 do job[flat[at]] = flat[at + 1] end
  return job
end

-- Takes the job out of what its state keeps it in and puts it into what the next state does, at time `at`.
-- It begins with a removal, which Redis never refuses for want of memory: a step is done whole or not at all.
local function change(job, to, at)
  local id, from = job.id, job.state
  if from == 'queued' then
    redis.call('ZREM', LINE, job.arrival .. ':' .. id)
    redis.call('ZREM', OLDEST, id)
  elseif from == 'running' then
    redis.call('XACK', LEASES, GROUP, job.lease)
    redis.call('XDEL', LEASES, job.lease)
  else
    redis.call('ZREM', ENDED, id)
  end
  if to == 'queued' then
    redis.call('ZADD', LINE, job.turn, job.arrival .. ':' .. id)
    redis.call('ZADD', OLDEST, job.accepted_at, id)
  elseif to == 'expired' then
    redis.call('ZADD', EXPIRED, at, id)
  elseif not ACTIVE[to] then
    redis.call('ZADD', ENDED, at, id)
  end
  if ACTIVE[from] and not ACTIVE[to] then
    redis.call('ZREM', share_key(job.caller), id)
    count('held_bytes', -job.bytes)
  end
  if from == 'done' then count('result_bytes', -(job.result_bytes or 0)) end
  count(from, -1)
  count(to, 1)
  redis.call('HSET', job_key(id), 'state', to)
  told(id)
end
