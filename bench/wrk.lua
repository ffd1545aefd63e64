-- wrk's script: asks for one path, or for the path with a random person's id behind it; prints the outcome as JSON.
-- Arguments: the path, and how many people there are (0: the path as it stands).

local path, people

function init(args)
  path, people = args[1], tonumber(args[2])
  math.randomseed(os.time())
end

function request()
  if people == 0 then
    return wrk.format("GET", path)
  end
  local person = math.random(people - 1)
  if person % 1000 == 0 then
    person = person + 1 -- the seed hides every thousandth
  end
  return wrk.format("GET", path .. string.format("01900000-0000-7000-8000-%012x", person))
end

function done(summary, latency, requests)
  -- An answer later than two seconds, which wrk calls a timeout, is late and no failure: it shows in the figures.
  local errors = summary.errors
  local broken = errors.connect + errors.read + errors.write
  io.write(string.format('\n{"requests":%d,"microseconds":%d,"refused":%d,"broken":%d,"median":%d}\n',
    summary.requests, summary.duration, errors.status, broken, latency:percentile(50)))
end
