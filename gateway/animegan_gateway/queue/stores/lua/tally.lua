-- The figures, and the job that waits longest with its time of acceptance.
return {redis.call('HGETALL', FIGURES), redis.call('ZRANGE', OLDEST, 0, 0, 'WITHSCORES')}
