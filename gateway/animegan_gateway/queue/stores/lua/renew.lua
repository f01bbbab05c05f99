-- ARGV: the owner, leases of its, JUSTID. Begins them anew; returns those that it still has.
if redis.call('EXISTS', LEASES) == 0 then return {} end
return redis.call('XCLAIM', LEASES, GROUP, ARGV[1], 0, unpack(ARGV, 2))
