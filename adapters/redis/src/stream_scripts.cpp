#include "stream_scripts.hpp"

namespace hufu::redis {
namespace {

constexpr auto names = R"(
local b = KEYS[1]
local entries, parked, keys, barred = b..':entries', b..':parked', b..':keys', b..':barred'
)";

// At its maxmemory a server refuses what may take memory, but not behind a write that may not. What empties the buffer must
// never be refused, so it begins with one that changes nothing: no key here has a time to live.
constexpr auto also_when_full = R"(
redis.call('PERSIST', entries)
)";

// What somebody else has put into a stream has no key, and is kept whole.
constexpr auto parts = R"(
local function parts(entry)
  local has = entry[2]
  if #has >= 4 and has[1] == 'k' and has[3] == 'm' then return has[2], has[4] end
  return '', table.concat(has, ' ')
end
)";

// The epoch stands while a key is barred.
constexpr auto lower_epoch = R"(
local function lower_epoch()
  local barred_keys = redis.call('HLEN', keys) - redis.call('HEXISTS', keys, '')
  if barred_keys == 0 then redis.call('DEL', b..':epoch') end
  return barred_keys
end
)";

// Where something is missing: the keys and bytes of what is there, counted anew.
constexpr auto recount = R"(
local function recount()
  redis.call('DEL', keys, barred)
  local bytes = 0
  for _, stream in ipairs({entries, parked}) do
    local from = '-'
    while true do
      local page = redis.call('XRANGE', stream, from, '+', 'COUNT', 1000)
      for _, entry in ipairs(page) do
        local field, packed = parts(entry)
        redis.call('HINCRBY', keys, field, 1)
        if stream == entries then bytes = bytes + #packed else redis.call('HINCRBY', barred, field, 1) end
      end
      if #page < 1000 then break end
      from = '('..page[#page][1]
    end
  end
  redis.call('SET', b..':bytes', bytes)
  if lower_epoch() > 0 then redis.call('SET', b..':epoch', (redis.call('GET', b..':spilled') or 0) + 1, 'NX') end
end
)";

// A key of another type must be met before anything is written. Keys that are gone (evicted, deleted) are counted anew first:
// once some are there again, nobody would see that others are missing.
constexpr auto spill_body = R"(
local waiting = redis.call('XLEN', entries)
local barrier = redis.call('HLEN', keys)
if barrier == 0 and waiting + redis.call('XLEN', parked) > 0 then
  recount()
  barrier = redis.call('HLEN', keys)
end
local limit, all = tonumber(ARGV[1]), 0
for i = 3, #ARGV, 2 do all = all + #ARGV[i] end
local held = tonumber(redis.call('GET', b..':bytes') or 0)
if limit > 0 and held + all > limit then return {'full', held} end
local counts, flags, bytes, added, keyed = {}, {}, 0, 0, false
for i = 2, #ARGV, 2 do
  local field = string.sub(ARGV[i], 2)
  local take = true
  if string.sub(ARGV[i], 1, 1) == '1' and (field == '' or not counts[field]) then
    take = barrier > 0 and field ~= '' and redis.call('HEXISTS', keys, field) == 1
  end
  if take then
    redis.call('XADD', entries, '*', 'k', field, 'm', ARGV[i + 1])
    counts[field] = (counts[field] or 0) + 1
    keyed = keyed or field ~= ''
    bytes, added = bytes + #ARGV[i + 1], added + 1
    flags[#flags + 1] = '1'
  else
    flags[#flags + 1] = '0'
  end
end
local total = tonumber(redis.call('GET', b..':spilled') or 0)
if added > 0 then
  total = redis.call('INCRBY', b..':spilled', added)
  redis.call('INCRBY', b..':bytes', bytes)
  if keyed then redis.call('SET', b..':epoch', total) end
  for field, count in pairs(counts) do redis.call('HINCRBY', keys, field, count) end
end
return {table.concat(flags), total}
)";

// A token names the run of the server that gave it: after a restart or a failover, which may have forgotten entries and turned
// back the clock that numbers them, what a reader knows of the shard is no longer true. Empty where INFO is not allowed.
constexpr auto run_id = R"(
local function run_id()
  local info = redis.pcall('INFO', 'server')
  return type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''
end
)";

// Written anew only when a good part of the lease is over, so that a read alone costs a server that syncs every write nothing.
constexpr auto still_owned = R"(
local function still_owned(token, lease)
  local owner = redis.call('GET', b..':owner')
  if owner ~= token or string.match(token, ':(%w*)$') ~= run_id() then return false end
  if redis.call('PTTL', b..':owner') < lease * 0.7 then redis.call('PEXPIRE', b..':owner', lease) end
  return true
end
local function mark(position)
  if position ~= '' then redis.pcall('XGROUP', 'SETID', entries, 'replay', position) end
end
)";

constexpr auto acquire_body = R"(
local owner = redis.call('GET', b..':owner')
if owner and owner ~= ARGV[2] then return false end
local token = ARGV[1]..':'..redis.call('INCR', b..':fence')..':'..run_id()
redis.call('SET', b..':owner', token, 'PX', ARGV[3])
redis.pcall('XGROUP', 'CREATE', entries, 'replay', '0', 'MKSTREAM')
local marked = '0-0'
for _, group in ipairs(redis.pcall('XINFO', 'GROUPS', entries)) do
  local facts = {}
  for i = 1, #group, 2 do facts[group[i]] = group[i + 1] end
  if facts['name'] == 'replay' then marked = facts['last-delivered-id'] end
end
local answer = redis.call('HKEYS', barred)
table.insert(answer, 1, marked)
table.insert(answer, 1, token)
return answer
)";

constexpr auto hold_body = R"(
if not still_owned(ARGV[1], ARGV[2]) then return -1 end
mark(ARGV[3])
return 1
)";

constexpr auto trim_body = R"(
if not still_owned(ARGV[1], ARGV[2]) then return -1 end
local n, single = tonumber(ARGV[4]), tonumber(ARGV[7])
local gone, bytes, counts = 0, ARGV[5], {}
if bytes == '' then
  bytes, n = 0, 0
  for i = 8, 7 + single do
    local entry = redis.call('XRANGE', entries, ARGV[i], ARGV[i])[1]
    if entry then
      local field, packed = parts(entry)
      n, bytes, counts[field] = n + 1, bytes + #packed, (counts[field] or 0) + 1
    end
  end
else
  for i = 8 + single, #ARGV, 2 do counts[ARGV[i]] = ARGV[i + 1] end
end
if ARGV[6] ~= '' then gone = redis.call('XTRIM', entries, 'MINID', ARGV[6]) end
for from = 8, 7 + single, 1000 do
  gone = gone + redis.call('XDEL', entries, unpack(ARGV, from, math.min(from + 999, 7 + single)))
end
if gone == 0 then return 0 end
mark(ARGV[3])
redis.call('INCRBY', b..':trimmed', gone)
if gone ~= n then
  recount()
  return gone
end
redis.call('DECRBY', b..':bytes', bytes)
for field, count in pairs(counts) do
  if redis.call('HINCRBY', keys, field, -count) <= 0 then redis.call('HDEL', keys, field) end
end
lower_epoch()
return gone
)";

constexpr auto park_body = R"(
if redis.call('GET', b..':owner') ~= ARGV[1] then return -1 end
local count = 0
for i = 3, #ARGV do
  local entry = redis.call('XRANGE', entries, ARGV[i], ARGV[i])[1]
  if entry then
    local field, packed = parts(entry)
    redis.call('XADD', parked, '*', 'k', field, 'm', packed, 'r', ARGV[2])
    redis.call('XDEL', entries, ARGV[i])
    redis.call('DECRBY', b..':bytes', #packed)
    redis.call('HINCRBY', barred, field, 1)
    count = count + 1
  end
end
return count
)";

constexpr auto unpark_body = R"(
local back, from = 0, '-'
while true do
  local page = redis.call('XRANGE', parked, from, '+', 'COUNT', 1000)
  for _, entry in ipairs(page) do
    local field, packed = parts(entry)
    local waits = field ~= '' and redis.call('HGET', keys, field) ~= redis.call('HGET', barred, field)
    if not waits then
      redis.call('XADD', entries, '*', 'k', field, 'm', packed)
      redis.call('XDEL', parked, entry[1])
      redis.call('INCRBY', b..':bytes', #packed)
      back = back + 1
    end
  end
  if #page < 1000 then break end
  from = '('..page[#page][1]
end
local left = {}
for _, entry in ipairs(redis.call('XRANGE', parked, '-', '+')) do
  local field = parts(entry)
  left[field] = (left[field] or 0) + 1
end
redis.call('DEL', barred)
for field, count in pairs(left) do redis.call('HSET', barred, field, count) end
-- Whoever reads has the bars in memory: it must take the shard anew.
redis.call('DEL', b..':owner')
return back
)";

constexpr auto account_body = R"(
local waiting, aside = redis.call('XLEN', entries), redis.call('XLEN', parked)
local spilled = tonumber(redis.call('GET', b..':spilled') or 0)
local trimmed = tonumber(redis.call('GET', b..':trimmed') or 0)
local missing = spilled - trimmed - waiting - aside
local gone = {}
if waiting + aside > 0 then
  local held = redis.call('HLEN', keys)
  if held == 0 then
    gone[#gone + 1] = ':keys'
  elseif held > redis.call('HEXISTS', keys, '') and redis.call('EXISTS', b..':epoch') == 0 then
    gone[#gone + 1] = ':epoch'
  end
end
if aside > 0 and redis.call('EXISTS', barred) == 0 then gone[#gone + 1] = ':barred' end
if waiting + aside + trimmed > 0 and redis.call('EXISTS', b..':spilled') == 0 then gone[#gone + 1] = ':spilled' end
local miscounted = waiting > 0 and tonumber(redis.call('GET', b..':bytes') or 0) <= 0
if ARGV[1] == 'mend' and (missing ~= 0 or #gone > 0 or miscounted) then
  recount()
  redis.call('INCRBY', b..':trimmed', missing)
  redis.call('INCRBY', b..':spilled', 0)
end
local age, first = -1, redis.call('XRANGE', entries, '-', '+', 'COUNT', 1)[1]
if first then
  local time = redis.call('TIME')
  age = math.max(0, time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(string.match(first[1], '^%d+')))
end
return {waiting, tonumber(redis.call('GET', b..':bytes') or 0), aside, age, spilled, missing, table.concat(gone, ', ')}
)";

}  // namespace

std::string StreamScripts::spill() { return std::string{names} + parts + lower_epoch + recount + spill_body; }
std::string StreamScripts::acquire() { return std::string{names} + also_when_full + run_id + acquire_body; }
std::string StreamScripts::hold() { return std::string{names} + run_id + still_owned + hold_body; }
std::string StreamScripts::trim() {
    return std::string{names} + run_id + still_owned + parts + lower_epoch + recount + trim_body;
}
std::string StreamScripts::park() { return std::string{names} + also_when_full + parts + park_body; }
std::string StreamScripts::unpark() { return std::string{names} + also_when_full + parts + unpark_body; }
std::string StreamScripts::release() {
    return std::string{names} +
           "if redis.call('GET', b..':owner') == ARGV[1] then "
           "if ARGV[2] ~= '' then redis.pcall('XGROUP', 'SETID', entries, 'replay', ARGV[2]) end "
           "redis.call('DEL', b..':owner') end return 1";
}
std::string StreamScripts::account() { return std::string{names} + parts + lower_epoch + recount + account_body; }

}  // namespace hufu::redis
