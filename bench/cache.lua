-- wrk's script for bench/cache.py; prints the outcome as JSON.
-- Arguments: what each request is, and the path.
--   same: the same bytes every time     vary: another number in a header that decides nothing
--   each: 10,000 people in turn
--   skewed: one of them, by Zipf's law; one in a hundred asks for somebody else who has not been asked for lately

local what, path
local head, tail, count = "", "", 0
local KNOWN, PEOPLE, DRAWS = 10000, 50000, 131072
local draws, cold = {}, 0

local function person(number)
  if number % 1000 == 0 then number = number - 1 end  -- the seed hides every thousandth
  return wrk.format("GET", path .. string.format("01900000-0000-7000-8000-%012x", number))
end

local function draw_all()
  local shares, sum = {}, 0
  for n = 1, KNOWN do sum = sum + 1 / n; shares[n] = sum end
  for n = 1, DRAWS do
    local at, low, high = math.random() * sum, 1, KNOWN
    while low < high do
      local middle = math.floor((low + high) / 2)
      if shares[middle] < at then low = middle + 1 else high = middle end
    end
    draws[n] = person(low)
  end
end

function init(args)
  what, path = args[1], args[2]
  math.randomseed(os.time())
  if what == "skewed" then
    cold = math.random(PEOPLE - KNOWN)
    return draw_all()
  end
  if what == "each" then return end
  if what == "same" then  -- without a function to call for each, wrk itself takes less of its core
    wrk.path, request = path, nil
    return
  end
  wrk.headers["X-Number"] = what == "vary" and "NUMBER" or nil
  head, tail = wrk.format("GET", path), ""
  local begin = head:find("NUMBER", 1, true)
  if begin then head, tail = head:sub(1, begin - 1), head:sub(begin + 6) end
end

function request()
  count = count + 1
  if what == "vary" then return head .. count .. tail end
  if what == "each" then return person(count % KNOWN + 1) end
  if count % 100 == 0 then
    cold = cold % (PEOPLE - KNOWN) + 1
    return person(KNOWN + cold)
  end
  return draws[count % DRAWS + 1]
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.timeout + errors.status
  print(string.format('{"requests": %d, "microseconds": %d, "failed": %d, "p99": %d}',
    summary.requests, summary.duration, failed, latency:percentile(99)))
end
