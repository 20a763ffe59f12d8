-- Takes one request from each of several limits, or from none of them when one refuses (GCRA:
-- ITU-T I.371). A key holds the instant at which its limit is whole again, in microseconds of
-- Redis' own clock, so that the clocks of the tasks do not matter.
-- quotas: requests and window in microseconds, for each key in turn.
-- Returns for each key: requests left, microseconds until one more is allowed (0: this one is),
-- microseconds until the limit is whole.
local function take(keys, quotas)
  local time = redis.call('TIME')
  local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
  local allowed = true
  local cells = {}
  for index, key in ipairs(keys) do
    local requests = tonumber(quotas[2 * index - 1])
    local window = tonumber(quotas[2 * index])
    local owed = math.max(tonumber(redis.call('GET', key) or now) - now, 0)
    local interval = window / requests
    local wait = math.max(owed + interval - window, 0)
    cells[index] = { window = window, interval = interval, owed = owed, wait = wait }
    allowed = allowed and wait == 0
  end
  local verdicts = {}
  for index, key in ipairs(keys) do
    local cell = cells[index]
    if allowed then
      cell.owed = cell.owed + cell.interval
      local whole_at = string.format('%.0f', now + cell.owed)
      redis.call('SET', key, whole_at, 'PX', math.ceil(cell.owed / 1000))
    end
    local left = math.floor((cell.window - cell.owed) / cell.interval + 0.001)
    verdicts[index] = { math.max(left, 0), math.ceil(cell.wait), math.ceil(cell.owed) }
  end
  return verdicts
end
