-- Returns the bound that is reached, or an empty string and the job: the one under the idempotency key, or the new one.
local id, caller, key, ask, bytes, work_px, accepted_at, jobs_bound, bytes_bound, share_bound, turns = unpack(ARGV)

local known = key ~= '' and redis.call('HGET', keys_key(caller), key)
if known then return {'', redis.call('HGETALL', job_key(known))} end

local share = share_key(caller)
if figure('queued') + figure('running') >= tonumber(jobs_bound) then return {'jobs'} end
if figure('held_bytes') + bytes > tonumber(bytes_bound) then return {'bytes'} end
if redis.call('ZCARD', share) >= tonumber(share_bound) then return {'caller_jobs'} end

-- Equal scores are ordered by member, so a member begins with its arrival, padded.
local arrival = string.format('%016d', redis.call('HINCRBY', FIGURES, 'arrivals', 1))
local last = redis.call('ZRANGE', share, -1, -1, 'WITHSCORES')[2] or 0
local turn = math.max(figure('turn'), tonumber(last)) + turns

redis.call('HSET', job_key(id), 'id', id, 'state', 'queued', 'ask', ask, 'caller', caller, 'key', key, 'bytes', bytes,
  'work_px', work_px, 'accepted_at', accepted_at, 'arrival', arrival, 'turn', turn)
if key ~= '' then redis.call('HSET', keys_key(caller), key, id) end
redis.call('ZADD', LINE, turn, arrival .. ':' .. id)
redis.call('ZADD', OLDEST, accepted_at, id)
redis.call('ZADD', share, turn, id)
redis.call('PERSIST', blob_key(id .. '.upload'))
count('held_bytes', bytes)
count('queued', 1)
told(id)
return {'', redis.call('HGETALL', job_key(id))}
