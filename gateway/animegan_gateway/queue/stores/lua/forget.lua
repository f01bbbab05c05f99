-- Drops what expired before the time, and its idempotency key.
local before = '(' .. ARGV[1]
for _, id in ipairs(redis.call('ZRANGEBYSCORE', EXPIRED, '-inf', before)) do
  local caller, key = unpack(redis.call('HMGET', job_key(id), 'caller', 'key'))
  redis.call('HDEL', keys_key(caller), key)
  redis.call('DEL', job_key(id))
  count('expired', -1)
end
redis.call('ZREMRANGEBYSCORE', EXPIRED, '-inf', before)
