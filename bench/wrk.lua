-- Requests for wrk: `wrk … URL -- DEPTH BYTES`. DEPTH requests in one write; BYTES > 0: a POST with a body of
-- that length. In the end it prints its counts in a line that the bench reads.

init = function(args)
  local depth, bytes = tonumber(args[1]), tonumber(args[2])
  if bytes > 0 then
    wrk.method = "POST"
    wrk.headers["Content-Type"] = "text/plain"
    wrk.body = string.rep("x", bytes)
  end
  if depth > 1 then
    local requests = string.rep(wrk.format(), depth)
    request = function() return requests end
  end
end

done = function(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format(
    "counts %d %d %d %d %d %f\n",
    summary.requests, summary.bytes, summary.duration, failed, latency:percentile(99), os.clock()))
end
