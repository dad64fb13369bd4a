---@private
-- What shells complete, made from the verbs' tables:
--   lua5.4 lua/saros/cli/completion.lua bash|zsh|fish

local options = require "saros.cli.options"
local verbs = require "saros.cli.verbs"

local completion = {}

local TOPICS <const> = { "exit-codes", "json", "configuration" }

-- What may follow an option: "file", "directory", "any", or a list; nil:
-- nothing.
local function values_of(option)
  if not option.value then return nil end
  if option.choices then return option.choices end
  local known = option.complete == "file" or option.complete == "directory"
  return known and option.complete or "any"
end

-- The same of what stands behind a verb.
local function arguments_of(verb)
  if verb.name == "help" then
    return table.move(TOPICS, 1, #TOPICS, #verbs.names + 1,
      table.move(verbs.names, 1, #verbs.names, 1, {}))
  end
  return verb.arguments and verb.arguments.complete or nil
end

-- Words of which one stands before these: nil, or a list.
local function first_of(verb) return (verb.arguments or {}).words end

-- Calls f with each option of a verb, once.
local function each_option(verb, f)
  local seen = {}
  for _, group in ipairs(options.groups(verb)) do
    for _, option in ipairs(group[2]) do
      if not seen[option[1]] then
        local short = option[2]
        if short and seen["-" .. short] then short = nil end
        seen[option[1]] = true
        if short then seen["-" .. short] = true end
        f(option, short)
      end
    end
  end
end

local function words(list)
  return type(list) == "table" and table.concat(list, " ") or list or ""
end

-- As a word of a shell that takes \' in no quotes.
local function quoted(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

-- ------------------------------------------------------------------
-- bash
-- ------------------------------------------------------------------

local BASH <const> = [==[
# What can come next on the command line of saros. Made from its verbs.
_saros() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
  local verb=${COMP_WORDS[1]} names='' files='' values='' first=''
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    mapfile -t COMPREPLY < <(compgen -W '%s --help --version' -- "$word")
    return
  fi
  case $verb:$before in
%s  esac
  if [ "$values" = file ]; then
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen -f -- "$word")
    return
  elif [ "$values" = directory ]; then
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen -d -- "$word")
    return
  elif [ -n "$values" ]; then
    [ "$values" = any ] ||
      mapfile -t COMPREPLY < <(compgen -W "$values" -- "$word")
    return
  fi
  case $verb in
%s  esac
  for before in "${COMP_WORDS[@]:2:COMP_CWORD-2}"; do
    [[ " $first " == *" $before "* ]] && first=''
  done
  [ -n "$first" ] && files=$first
  if [[ $word == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$names" -- "$word")
  elif [ "$files" = file ]; then
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen -f -- "$word")
  elif [ "$files" = directory ]; then
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen -d -- "$word")
  elif [ -n "$files" ]; then
    mapfile -t COMPREPLY < <(compgen -W "$files" -- "$word")
  fi
}
complete -F _saros saros
]==]

--- For bash.
function completion.bash()
  local values, names = {}, {}
  for _, name in ipairs(verbs.names) do
    local verb, list = verbs.load(name), {}
    each_option(verb, function(option, short)
      list[#list + 1] = "--" .. option[1]
      local what = values_of(option)
      if not what then return end
      local of = name .. ":--" .. option[1]
      if short then of = of .. " | " .. name .. ":-" .. short end
      values[#values + 1] = ("    %s) values='%s' ;;\n"):format(of, words(what))
    end)
    names[#names + 1] =
      ("    %s)\n      first='%s'\n      files='%s'\n      names='%s'\n"
      .. "      ;;\n"):format(name, words(first_of(verb)),
      words(arguments_of(verb)), table.concat(list, " "))
  end
  return BASH:format(table.concat(verbs.names, " "), table.concat(values),
    table.concat(names))
end

-- ------------------------------------------------------------------
-- zsh
-- ------------------------------------------------------------------

local ZSH <const> = [==[
#compdef saros
# What can come next on the command line of saros. Made from its verbs.
_saros() {
  local curcontext=$curcontext verb=$words[2]
  local -a verbs
  if (( CURRENT == 2 )); then
    verbs=(
%s    )
    _describe -t verbs verb verbs
    [[ $PREFIX == -* ]] && compadd -- --help --version
    return
  fi
  shift words
  (( CURRENT-- ))
  case $verb in
%s  esac
}
_saros "$@"
]==]

-- In the brackets and the fields of _arguments.
local function of_zsh(text)
  return (text:gsub("[%[%]\\:]", "\\%0"))
end

local function zsh_action(what)
  if what == "file" then return "_files" end
  if what == "directory" then return "_directories" end
  if type(what) == "table" then return "(" .. words(what) .. ")" end
  return " "
end

local function zsh_options(verb)
  local lines = {}
  each_option(verb, function(option, short)
    local what = values_of(option)
    local both = short and ("(-%s --%s)"):format(short, option[1]) or ""
    local head = option.list and "*" or both
    local tail = "[" .. of_zsh(option.help) .. "]"
    if what then
      tail = ("%s:%s:%s"):format(tail, of_zsh(option.value), zsh_action(what))
    end
    local function line(name)
      lines[#lines + 1] = quoted(head .. name .. tail)
    end
    if short then line("-" .. short .. (what and "+" or "")) end
    line("--" .. option[1] .. (what and "=" or ""))
  end)
  return lines
end

--- For zsh.
function completion.zsh()
  local list, cases = {}, {}
  for _, name in ipairs(verbs.names) do
    list[#list + 1] = ("      %s\n"):format(quoted(name .. ":"
      .. of_zsh(verbs.summary[name])))
    local verb = verbs.load(name)
    local lines, what = zsh_options(verb), arguments_of(verb)
    if first_of(verb) then
      lines[#lines + 1] = quoted("1:WORD:" .. zsh_action(first_of(verb)))
    end
    if what then
      lines[#lines + 1] = quoted("*:" .. of_zsh(verb.arguments.names) .. ":"
        .. zsh_action(what))
    end
    cases[#cases + 1] = ("    %s)\n      _arguments -s -S : \\\n        %s\n"
      .. "      ;;\n"):format(name, table.concat(lines, " \\\n        "))
  end
  return ZSH:format(table.concat(list), table.concat(cases))
end

-- ------------------------------------------------------------------
-- fish
-- ------------------------------------------------------------------

local FISH <const> = [==[
# What can come next on the command line of saros. Made from its verbs.
function __saros_at
    set -l words (commandline -opc)
    if test (count $argv) = 0
        test (count $words) = 1
    else
        test (count $words) -gt 1; and test "$words[2]" = $argv[1]
    end
end
complete -c saros -f
complete -c saros -n __saros_at -l help -d 'show all verbs'
complete -c saros -n __saros_at -l version -d 'show the version'
]==]

local function of_fish(text)
  return "'" .. text:gsub("[\\']", "\\%0") .. "'"
end

local DIRECTORIES <const> = "-x -a '(__fish_complete_directories)'"

local function fish_action(what)
  if what == "file" then return "-r -F" end
  if what == "directory" then return DIRECTORIES end
  if type(what) == "table" then return "-x -a " .. of_fish(words(what)) end
  return "-x"
end

--- For fish.
function completion.fish()
  local lines = { FISH }
  local function line(...) lines[#lines + 1] = (...):format(select(2, ...)) end
  for _, name in ipairs(verbs.names) do
    line("complete -c saros -n __saros_at -a %s -d %s\n", name,
      of_fish(verbs.summary[name]))
  end
  for _, name in ipairs(verbs.names) do
    local verb = verbs.load(name)
    local at = "complete -c saros -n '__saros_at " .. name .. "'"
    local what = arguments_of(verb)
    if first_of(verb) then
      local list = words(first_of(verb))
      local seen = "__fish_seen_subcommand_from " .. list
      line("complete -c saros -n '__saros_at %s; and not %s' -a %s\n", name,
        seen, of_fish(list))
      line("complete -c saros -n '__saros_at %s; and %s' -F\n", name, seen)
    elseif what == "file" then
      line("%s -F\n", at)
    elseif what then
      line("%s %s\n", at, fish_action(what):gsub("^%-x ", ""))
    end
    each_option(verb, function(option, short)
      local values = values_of(option)
      line("%s -l %s%s%s -d %s\n", at, option[1],
        short and " -s " .. short or "",
        values and " " .. fish_action(values) or "", of_fish(option.help))
    end)
  end
  return table.concat(lines)
end

-- As a program of the Makefile.
local shell = ...
if completion[shell] then io.write(completion[shell]()) end

return completion
