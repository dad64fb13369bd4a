/*
** Writers that are Lua functions: what their handlers are told, and may answer;
** who waits for them meanwhile. See lua_writer_case.h.
*/
#include "lua_writer_case.h"

SCRIPT(every_handler_is_called_in_order, NOTING
       "local w <close> = noting(1)\n"
       "assert(connect() == 1)\n"
       "local all = { 'identify', 'prepare_backup', 'prepare_snapshot',\n"
       "  'freeze', 'thaw', 'post_snapshot', 'backup_complete',\n"
       "  'backup_shutdown', 'pre_restore', 'post_restore', 'abort' }\n"
       "for _, name in ipairs(all) do assert(tell(name):wait()) end\n"
       "assert(table.concat(heard, ' ') == table.concat(all, ' '),\n"
       "  table.concat(heard, ' '))\n"
       "hang_up()")

SCRIPT(what_has_no_handler_consents,
       "local w <close> = vss.writer { id = id(1), name = 'none' }\n"
       "connect()\n"
       "for _, name in ipairs { 'prepare_backup', 'freeze', 'thaw', 'abort',\n"
       "  'post_restore' } do assert(tell(name):wait()) end\n"
       "hang_up()")

SCRIPT(an_event_says_what_it_is_about,
       "local seen\n"
       "local w <close> = vss.writer { id = id(1), name = 'x',\n"
       "  freeze = function(e) seen = e end }\n"
       "connect()\n"
       "assert(tell('freeze', { deadline = 50, details = { set = 's',\n"
       "  backup_type = 'full', components = { 'a', 'b' },\n"
       "  volumes = { { path = '/a', atomic = true } } } }):wait())\n"
       "assert(seen.event == 'freeze' and seen.set == 's')\n"
       "assert(seen.backup_type == 'full' and #seen.components == 2)\n"
       "assert(seen.volumes[1].path == '/a' and seen.volumes[1].atomic)\n"
       "assert(seen.deadline > 0 and seen.deadline <= 50)\n"
       "hang_up()")

SCRIPT(a_handler_may_wait,
       "local w <close> = vss.writer { id = id(1), name = 'x',\n"
       "  freeze = function() saros.sleep(0):wait() "
       "    saros.spawn(function() saros.sleep(0):wait() end):wait() "
       "    return true end }\n"
       "connect()\n"
       "for _ = 1, 20 do assert(tell('freeze'):wait()) end\n"
       "saros.run(function() assert(tell('freeze'):wait()) end)\n"
       "hang_up()")

SCRIPT(a_handler_keeps_something_open_from_freeze_to_thaw,
       "local g, order, session = gate(), {}, nil\n"
       "local function run_session()\n"
       "  order[#order + 1] = 'open'\n"
       "  g:wait()\n"
       "  order[#order + 1] = 'closed'\n"
       "end\n"
       "local w <close> = vss.writer { id = id(1), name = 'x',\n"
       "  freeze = function() session = saros.spawn(run_session)\n"
       "    saros.sleep(0):wait() end,\n"
       "  thaw = function() open(g) session:wait() end }\n"
       "connect()\n"
       "assert(tell('freeze'):wait())\n"
       "assert(#order == 1)\n"
       "assert(tell('thaw'):wait())\n"
       "assert(order[2] == 'closed')\n"
       "hang_up()")

SCRIPT(
    every_way_to_veto,
    "local answer\n"
    "local w <close> = vss.writer { id = id(1), name = 'x',\n"
    "  freeze = function() return answer() end }\n"
    "connect()\n"
    "local function vetoed(f)\n"
    "  answer = f\n"
    "  local ok, err = tell('freeze'):wait()\n"
    "  assert(ok == nil, 'no veto')\n"
    "  return err\n"
    "end\n"
    "local err = vetoed(function() return nil, 'busy' end)\n"
    "assert(err.code == code 'NONRETRYABLE') has(err.message, 'busy')\n"
    "err = vetoed(function() return false, 'busy' end)\n"
    "has(err.message, 'busy')\n"
    "err = vetoed(function() return false end)\n"
    "has(err.message, 'refused')\n"
    "err = vetoed(function() error('oops') end)\n"
    "has(err.message, 'oops') assert(err.code == code 'NONRETRYABLE')\n"
    "err = vetoed(function() error { 1 } end)\n"
    "has(err.message, 'table')\n"
    "err = vetoed(function() error(nil) end)\n"
    "err = vetoed(function() error(false) end)\n"
    "err = vetoed(function()\n"
    "  return nil, require 'saros.core'.failure('vss', code 'RETRYABLE',\n"
    "    'later') end)\n"
    "assert(err.code == code 'RETRYABLE' and err.message == 'later')\n"
    "err = vetoed(function()\n"
    "  return nil, require 'saros.core'.failure('saros', 0x80070005,\n"
    "    'denied') end)\n"
    "assert(err.code == code 'NONRETRYABLE')\n"
    "assert(err.cause.code == 0x80070005)\n"
    "local full = W .. 'OUTOFRESOURCES'\n"
    "for _, c in ipairs { full, saros.code[full] } do\n"
    "  for _, way in ipairs { error, function(e) return nil, e end } do\n"
    "    err = vetoed(function() return way { code = c,\n"
    "      message = 'the disk\\nis full' } end)\n"
    "    assert(err.code == code 'OUTOFRESOURCES')\n"
    "    assert(err.message == 'the disk\\\\nis full' and err.retryable)\n"
    "  end\n"
    "end\n"
    "err = vetoed(function() error { code = full } end)\n"
    "has(err.message, 'no reason')\n"
    "err = vetoed(function() error { message = ('x'):rep(9999) } end)\n"
    "assert(err.code == code 'NONRETRYABLE' and #err.message < 1025,\n"
    "  err.code .. #err.message)\n"
    "err = vetoed(function() error { message = 'a', retryable = true } end)\n"
    "assert(err.code == code 'RETRYABLE' and err.message == 'a')\n"
    "err = vetoed(function() error { code = 0x80070005 } end)\n"
    "assert(err.code == code 'NONRETRYABLE')\n"
    "assert(err.cause.code == 0x80070005)\n"
    "err = vetoed(function() error { code = 1, message = {} } end)\n"
    "assert(err.code == code 'NONRETRYABLE')\n"
    "err = vetoed(function() return os.execute('exit 3') end)\n"
    "has(err.message, 'exit')\n"
    "for _, good in ipairs { function() end, function() return true end,\n"
    "  function() return nil end, function() return 1 end,\n"
    "  function() return nil, nil end, function() return 'x', 'y' end } do\n"
    "  answer = good\n"
    "  assert(tell('freeze'):wait())\n"
    "end\n"
    "hang_up()")

SCRIPT(identify_adds_to_what_is_said,
       "local answer = {}\n"
       "local w <close> = vss.writer { id = id(1), name = 'x',\n"
       "  freeze_timeout = 7, metadata = { colour = 'red' },\n"
       "  components = { { type = 'database', name = 'a',\n"
       "    files = { '/a' } } }, identify = function() return answer end }\n"
       "connect()\n"
       "local m = assert(tell('identify'):wait())[1]\n"
       "assert(m.id == id(1) and m.name == 'x' and m.freeze_timeout == 7)\n"
       "assert(m.colour == 'red' and m.instance == w.instance)\n"
       "assert(m.components[1].files[1] == '/a')\n"
       "answer = { name = 'y', components = { { type = 'filegroup',\n"
       "  name = 'b' } } }\n"
       "m = assert(tell('identify'):wait())[1]\n"
       "assert(m.name == 'y' and m.components[1].name == 'b')\n"
       "answer = nil\n"
       "m = assert(tell('identify'):wait())[1]\n"
       "assert(m.name == 'x')\n"
       "local function fails(a)\n"
       "  answer = a\n"
       "  local ok, err = tell('identify'):wait()\n"
       "  assert(ok == nil)\n"
       "  return err.message\n"
       "end\n"
       "has(fails('text'), 'a table is expected')\n"
       "has(fails({ 1, 2 }), 'a table with names')\n"
       "has(fails({ x = print }), '.x is a function')\n"
       "local ring = {} ring.ring = ring\n"
       "has(fails(ring), 'contains itself')\n"
       "local deep = {} for _ = 1, 100 do deep = { d = deep } end\n"
       "has(fails(deep), 'too deeply')\n"
       "has(fails({ x = { 1, 2, a = 3 } }), 'other keys')\n"
       "has(fails({ x = { [1] = 1, [3] = 3 } }), 'other keys')\n"
       "local wide = {} for _ = 1, 40 do wide = { wide, wide } end\n"
       "has(fails({ x = wide }), 'holds too much')\n"
       "hang_up()")

SCRIPT(a_static_writer_identifies_itself_without_lua,
       "local w <close> = vss.writer { id = id(1), name = 'x' }\n"
       "connect()\n"
       "local m = assert(tell('identify'):wait())[1]\n"
       "assert(m.name == 'x' and m.level == 'front_end')\n"
       "hang_up()")

SCRIPT(wrong_arguments_raise_and_name_them,
       "local function raises(options, part)\n"
       "  has(must_fail(vss.writer, options), part)\n"
       "end\n"
       "raises(nil, 'table expected')\n"
       "raises({}, \"'id' is missing\")\n"
       "raises({ id = id(1) }, \"'name' is missing\")\n"
       "raises({ id = 1, name = 'x' }, \"'id': string expected\")\n"
       "raises({ id = 'x', name = 'x' }, 'GUID')\n"
       "raises({ id = id(1), name = '' }, 'empty')\n"
       "raises({ id = id(1), name = 'x', freeze = 1 },\n"
       "  \"'freeze': function expected, got number\")\n"
       "raises({ id = id(1), name = 'x', freze = print }, 'freze')\n"
       "raises({ id = id(1), name = 'x', level = 'high' }, 'level')\n"
       "raises({ id = id(1), name = 'x', freeze_timeout = 601 },\n"
       "  'freeze_timeout')\n"
       "raises({ id = id(1), name = 'x', components = { { name = 'a' } } },\n"
       "  'type')\n"
       "raises({ id = id(1), name = 'x', instance = 'no' }, 'instance')\n"
       "raises({ id = id(1), name = 'x', components = print },\n"
       "  \"'components': table expected\")\n"
       "raises({ id = id(1), name = 'x', metadata = { f = print } },\n"
       "  'f is a function')\n"
       "local w <close> = vss.writer { id = id(1), name = 'x' }\n"
       "raises({ id = id(1), name = 'x', instance = w.instance },\n"
       "  'subscribed already')\n"
       "local other <close> = vss.writer { id = id(1), name = 'x' }\n"
       "assert(other.instance ~= w.instance)\n"
       "local c = setmetatable({}, { __call = function() end })\n"
       "local callable <close> = vss.writer { id = id(2), name = 'x',\n"
       "  freeze = c }\n"
       "assert(tostring(w):find('x ' .. id(1), 1, true))\n"
       "w:close()\n"
       "assert(tostring(w) == 'saros.vss.writer: closed')\n"
       "assert(not w:is_open())\n"
       "w:close()")

SCRIPT(waits_of_every_kind_run_the_handlers,
       "local count, task = 0, nil\n"
       "local w <close> = vss.writer { id = id(1), name = 'x',\n"
       "  freeze = function() saros.sleep(0):wait()\n"
       "    saros.spawn(function() count = count + 1 end):wait() end }\n"
       "connect()\n"
       "local other = 0\n"
       "saros.spawn(function() other = other + 1 end)\n"
       "local function freeze() return assert(tell('freeze'):wait()) end\n"
       /* in a sort, on the main thread: nothing else runs */
       "table.sort({ 2, 1 }, function(a, b) freeze() return a < b end)\n"
       "assert(count >= 1 and other == 0)\n"
       "local before = count\n"
       "string.gsub('x', 'x', function() freeze() end)\n"
       "assert(count == before + 1 and other == 0)\n"
       /* a foreign coroutine */
       "coroutine.wrap(freeze)()\n"
       "assert(count == before + 2 and other == 0)\n"
       /* a finalizer */
       "setmetatable({}, { __gc = freeze })\n"
       "collectgarbage()\n"
       "assert(count == before + 3 and other == 0)\n"
       /* through a task and a gather, in a sort of a task */
       "saros.run(function()\n"
       "  string.gsub('x', 'x', function()\n"
       "    local t = saros.all { saros.spawn(function()\n"
       "      local op = tell('freeze')\n"
       "      return op:wait() end), tell('freeze') }\n"
       "    assert(t:wait())\n"
       "  end)\n"
       "end)\n"
       "assert(count == before + 5)\n"
       "hang_up()")

SCRIPT(a_cycle_fails_and_does_not_hang,
       "local op, err\n"
       "local w <close> = vss.writer { id = id(1), name = 'x',\n"
       "  freeze = function()\n"
       "    local ok\n"
       "    ok, err = op:wait()\n"
       "    return ok, err\n"
       "  end }\n"
       "connect()\n"
       "op = tell('freeze')\n"
       "local ok, why = op:wait()\n"
       "assert(not ok and err.code == saros.code.SAROS_E_CYCLE)\n"
       "assert(why.cause.code == saros.code.SAROS_E_CYCLE)\n"
       /* in a sort, and through a task */
       "for _, way in ipairs { function(f) string.gsub('x', 'x', f) end,\n"
       "  function(f) saros.spawn(f):wait() end } do\n"
       "  op, err = nil, nil\n"
       "  local inner <close> = vss.writer { id = id(2), name = 'y',\n"
       "    thaw = function() way(function()\n"
       "      local ok ok, err = op:wait() end) end }\n"
       "  connect()\n"
       "  op = tell('thaw', { id = id(2) })\n"
       "  op:wait()\n"
       "  assert(err.code == saros.code.SAROS_E_CYCLE)\n"
       "end\n"
       "hang_up()")

SCRIPT(a_hundred_writers_freeze_at_once,
       "local frozen, kept = 0, {}\n"
       "for i = 1, 100 do\n"
       "  kept[i] = vss.writer { id = id(i), name = 'w' .. i,\n"
       "    freeze = function() frozen = frozen + 1 end,\n"
       "    thaw = function() frozen = frozen - 1 end }\n"
       "end\n"
       "assert(connect() == 100)\n"
       "local times = {}\n"
       "for i = 1, 21 do\n"
       "  local begun = clock()\n"
       "  assert(tell('freeze'):wait())\n"
       "  times[i] = clock() - begun\n"
       "  assert(frozen == 100)\n"
       "  assert(tell('thaw'):wait())\n"
       "  assert(frozen == 0)\n"
       "end\n"
       "table.sort(times)\n"
       "print(('100 writers frozen: median %.2f ms, worst %.2f ms')\n"
       "  :format(times[11], times[21]))\n"
       "hang_up()")

SCRIPT(report_speaks_for_the_task,
       "has(must_fail(saros.report, { done = 1 }), 'outside a task')\n"
       "has(must_fail(saros.report, { dune = 1 }), 'dune')\n"
       "local g, begun = gate(), nil\n"
       "local op = require 'saros.core'.spawn_as('vss.shadow', nil,\n"
       "  function()\n"
       "    saros.report { done = 41, total = 100, phase = 'freeze' }\n"
       "    begun = true\n"
       "    g:wait()\n"
       "    return 'x'\n"
       "  end)\n"
       "while not begun do saros.step(1) end\n"
       "assert(tostring(op):find('vss.shadow: pending 41%% %(freeze%)'))\n"
       "local code, percent = op:query()\n"
       "assert(code == saros.code.VSS_S_ASYNC_PENDING and percent == 41)\n"
       "open(g)\n"
       "assert(op:wait() == 'x')\n"
       "assert(op:query() == saros.code.VSS_S_ASYNC_FINISHED)\n"
       "op = require 'saros.core'.spawn_as('vss.shadow', nil, function()\n"
       "  return nil, require 'saros.core'.failure('vss', 0x80042314,\n"
       "    'held') end)\n"
       "local ok, err = op:wait()\n"
       "assert(err.code == 0x80042314 and op:query() == 0x80042314)\n"
       "assert(op:status().name == 'VSS_E_HOLD_WRITES_TIMEOUT')\n"
       "op = require 'saros.core'.spawn_as('vss.shadow', nil, function()\n"
       "  gate():wait() end)\n"
       "assert(op:cancel() == 0)\n"
       "assert(op:cancel() == saros.code.VSS_S_ASYNC_CANCELLED)\n"
       "has(must_fail(require 'saros.core'.spawn_as, 'x', nil, print),\n"
       "  'no kind')")

static void all(void) {
  RUN(every_handler_is_called_in_order);
  RUN(what_has_no_handler_consents);
  RUN(an_event_says_what_it_is_about);
  RUN(a_handler_may_wait);
  RUN(a_handler_keeps_something_open_from_freeze_to_thaw);
  RUN(every_way_to_veto);
  RUN(identify_adds_to_what_is_said);
  RUN(a_static_writer_identifies_itself_without_lua);
  RUN(wrong_arguments_raise_and_name_them);
  RUN(waits_of_every_kind_run_the_handlers);
  RUN(a_cycle_fails_and_does_not_hang);
  RUN(a_hundred_writers_freeze_at_once);
  RUN(report_speaks_for_the_task);
}

int main(int argc, char **argv) {
  return lua_writer_main(argc, argv, all);
}
