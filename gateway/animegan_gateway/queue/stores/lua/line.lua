-- Who waits, the next one first, and who runs: id and work_px in turn.
local waiting, running = {}, {}
local function list(into, id)
  table.insert(into, id)
  table.insert(into, redis.call('HGET', job_key(id), 'work_px'))
end
for _, member in ipairs(redis.call('ZRANGE', LINE, 0, -1)) do list(waiting, string.sub(member, 18)) end
for _, entry in ipairs(redis.call('XRANGE', LEASES, '-', '+')) do list(running, entry[2][2]) end
return {waiting, running}
