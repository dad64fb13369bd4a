---@meta saros
-- What is written in C, for the language server and the reference. Never
-- required.

--- An operation: work that has started and has not necessarily ended. Two
--- values are equal when they are the same operation. As a to-be-closed
--- variable (`local op <close> = …`) it is cancelled and unwound when the
--- block is left.
---@class saros.operation
local operation = {}

--- Waits until it has ended and is unwound. In a task it yields, on the main
--- thread it blocks while tasks go on, elsewhere it blocks on this operation
--- alone. Never cancels.
---@param seconds? number at most so long; `0` only looks
---@return any result `true` when there is none (or when it would be nil or false: then the results follow); nil when it failed
---@return any|saros.error ... more results, or the error. Out of time: `err.timeout`
function operation:wait(seconds) end

--- The facade's own answer. Never blocks, never changes anything.
---@return integer code pending, finished, cancelled or how it failed, in the words of its facade
---@return integer? percent 0 to 99 until it is terminal (not for WSB)
function operation:query() end

--- Everything there is to know about it now.
---@return saros.status
function operation:status() end

--- Whether it has ended and is unwound.
---@return boolean
function operation:done() end

--- Whether it has ended, and well.
---@return boolean
function operation:ok() end

--- All results, exactly as they came; `nil, err` when it failed or has not
--- ended.
---@return any ...
function operation:result() end

--- Cancels. What follows is unwound behind it; `wait` waits for that too.
---@return integer code exactly what the facade's Cancel or Abort returns; 0 is accepted
function operation:cancel() end

--- Calls f when it has ended, as a task of its own, once.
---@param f fun(result: any, err: saros.error?, op: saros.operation)
---@return saros.operation handle that task: `handle:close()` forgets it
function operation:on_done(f) end

--- For a `for` loop: the status now, then at each move (conflated), the
--- terminal one always and last.
---@return fun(): saros.status?
function operation:progress() end

--- For a `for` loop over what a process with `stdout = "lines"` writes.
---@param which? "stdout"|"stderr"
---@return fun(): string?
function operation:lines(which) end

--- Suspends it where its kind can be suspended.
---@return boolean whether it was running or queued
function operation:pause() end

--- Lets a suspended one go on.
---@return boolean
function operation:resume() end

--- Cancels what is pending, waits until it is unwound, lets go. Also
--- `__close`.
---@param seconds? number at most so long
function operation:close(seconds) end

---@class saros.status
---@field kind string "saros.copy"
---@field state "created"|"queued"|"running"|"paused"|"retrying"|"succeeded"|"failed"|"cancelled"|"forked"
---@field code integer what `query` answers
---@field name string the code's name
---@field message? string
---@field percent integer
---@field phase? string "unwinding" while it is being undone
---@field step? string what is being undone
---@field done? integer
---@field total? integer
---@field elapsed number seconds
---@field retries? integer
---@field cleanup? string[] what could not be undone
---@field held_since? number when somebody began to hold still for it, on the clock that nobody sets (`core.clocks`)
---@field held_until? number when the first of them is let go at the latest
---@field held? number seconds that they held still; they go on again
---@field label? string the name it was given
---@field origin? string file:line of the function that a pending task runs
---@field waits? string what it waits for that cannot go on now: a writer of this process, while nothing turns its loop

---@class saros.error
---@field code integer
---@field name string the code's name
---@field facade string
---@field message string what happened and what to do
---@field op? saros.operation
---@field cause? saros.error
---@field retryable boolean
---@field timeout? boolean
---@field cancelled? boolean
---@field path? string
---@field errno? integer
---@field value? any what a task raised, when that was no error object

---@class saros
local saros = {}

---@class saros.task.options
---@field name? string for `saros.get`; no other pending operation may have it

--- An operation that ends by itself after a time.
---@param seconds number
---@param options? saros.task.options
---@return saros.operation
function saros.sleep(seconds, options) end

---@class saros.process.options
---@field argv string[] the program (looked for in PATH) and its arguments
---@field stdin? string|saros.operation bytes; `"inherit"`; or a process with `stdout = "stream"`. Nothing: /dev/null
---@field stdout? "capture"|"lines"|"stream"|"null"|"inherit" capture: kept in the result, up to `limit`
---@field stderr? "capture"|"lines"|"null"|"inherit"|"stdout"
---@field env? table<string, string|false> changes to the environment; false takes a name out
---@field clear_env? boolean begin with an empty environment
---@field cwd? string
---@field timeout? number seconds; then it is ended and the operation fails
---@field grace? number seconds between TERM and KILL (5)
---@field limit? integer bytes kept of each output (1 MiB)
---@field any_status? boolean an exit status other than 0 is a success too
---@field foreground? boolean it has the terminal while it runs, if we have it: reads from it, and is whom Ctrl-C is for
---@field name? string

--- A child process in a group of its own. Cancel sends TERM to the whole
--- group, then KILL; nothing of it is left when the wait is over, nor when this
--- program has ended, however that was. (Who has left the group, as a daemon
--- does, is on his own.) Result: `{ status, stdout, stderr, … }`. A status other
--- than 0 is a failure, unless `any_status`.
---
--- ```lua
--- local r = assert(saros.process { argv = { "hostname" } }:wait())
--- print(r.stdout)
--- ```
---@param options saros.process.options
---@return saros.operation
function saros.process(options) end

---@class saros.copy.options
---@field from string a file or a directory
---@field to string must not exist, unless `replace`
---@field replace? boolean exchange it with what is there, at once
---@field one_file_system? boolean do not enter other mounted file systems
---@field durable? boolean be on disk before it appears
---@field clone? "auto"|"never"|"always" share blocks where the file system can
---@field name? string

--- Copies a file or a tree with all that belongs to it: holes, hard links,
--- extended attributes, owners, times. The copy appears at once or not at
--- all; a cancelled one leaves nothing. What one leaves whose process was
--- killed is hidden beside its place, and the next one to there removes it.
---@param options saros.copy.options
---@return saros.operation op result: `{ files, directories, bytes, … }`
function saros.copy(options) end

--- Runs f as a task and the loop until it and all it has spawned have ended.
--- f's error is raised again. In a task: spawn and wait; when that task is
--- cancelled, f is too, and it is waited for until it is unwound.
---@overload fun(options: saros.task.options, f: function, ...: any): ...
---@param f function
---@param ... any its arguments
---@return any ... what f returns
function saros.run(f, ...) end

--- Makes f a task. It starts at the next dispatch, never inside spawn.
---
--- ```lua
--- saros.spawn(serve, socket)
--- saros.spawn({ name = "serve" }, serve, socket)
--- saros.get("serve"):cancel()
--- ```
---@overload fun(options: saros.task.options, f: function, ...: any): saros.operation
---@param f function
---@param ... any its arguments
---@return saros.operation op its results are those of f
function saros.spawn(f, ...) end

--- The operation of this process that was started with `name = `.
---@param name string
---@return saros.operation?
function saros.get(name) end

--- All operations that have a name.
---@return table<string, saros.operation>
function saros.list() end

--- A descriptor that is readable while `step` has work: for a host's own
--- loop. Ask again after a fork.
---@return integer fd
---@return integer serial another one whenever the descriptor is, even if that has the old number
function saros.fd() end

--- Runs what is due: at most `saros.config.budget` tasks.
---@param max_seconds? number wait so long for something (0: not at all; nothing: while tasks are pending)
---@return boolean more whether there is more to do now
function saros.step(max_seconds) end

--- Sets what can be set for this Lua state; what is not named stays.
---
--- ```lua
--- saros.config { budget = 64, log = function(r) print(r.level, r.text) end }
--- saros.config { pause = core.msleep }    -- in HAProxy
--- ```
---@param options saros.config
function saros.config(options) end

--- Says how far the task is that calls this: what `query`, `status` and
--- `progress` of its operation show.
---@param report { done: number?, total: number?, phase: string?, held_since: number?, held_until: number?, held: number? }
function saros.report(report) end

--- Cancels everything that this state has started, closes its sessions with
--- their shadow copies, waits until it is unwound, and stops the engine if nobody
--- else uses it.
---@param seconds? number at most so long (30)
---@return boolean? complete
function saros.shutdown(seconds) end

return saros
