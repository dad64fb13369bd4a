-- What shells complete, in the real ones: each in a directory with files that
-- are called as files should not be.
local cli = require "spec.cli"
local outside = require "spec.outside"
local screens = require "spec.screen"
local verbs = require "saros.cli.verbs"
require "spec.helper"

local doc = (os.getenv "SAROS_BUILD" or os.getenv "PWD" .. "/build") .. "/doc"

-- Names that a shell would take for something else; a mark that nothing wrote.
local hostile <const> = { "with space", "$(touch pwned)", "`touch pwned`",
  "semi;touch pwned", "quote'and\"", "star*", "-n", "\27[2Jescape", "漢字" }

local function prepared(f)
  local root <close> = cli.scratch()
  local made <close> = cli.scratch()
  for _, name in ipairs(hostile) do
    outside.write(root.path .. "/hostile-" .. name, "")
  end
  assert(os.execute(("cd '%s' && mkdir dir-one dir-two && touch dir-file file-one")
    :format(root.path)))
  f(root.path, made.path)
  assert.is_nil(io.open(root.path .. "/pwned"))
end

-- Each way of asking gives a list of what may come.
local shells = {}

function shells.bash(root)
  return function(...)
    local words = { ... }
    local script = { ("cd '%s'; source '%s/saros.bash'"):format(root, doc),
      "compopt() { :; }", "COMP_WORDS=(saros" }
    for _, word in ipairs(words) do
      script[#script] = script[#script] .. " '" .. word .. "'"
    end
    script[#script] = script[#script] .. ")"
    script[#script + 1] = ("COMP_CWORD=%d"):format(#words)
    script[#script + 1] = "_saros; printf '%s\\n' \"${COMPREPLY[@]}\""
    return (outside.run("bash", "--norc", "-c", table.concat(script, "\n")))
  end
end

function shells.fish(root, made)
  return function(...)
    local words = { "saros" }
    for i, word in ipairs { ... } do words[i + 1] = word end
    local line = table.concat(words, " ")
    local said = outside.run("env", "HOME=" .. made, "XDG_CONFIG_HOME=" .. made,
      "XDG_DATA_HOME=" .. made, "TERM=dumb", "fish", "--no-config", "-c",
      ("cd '%s'; source '%s/saros.fish'; complete -C '%s'"):format(root, doc,
      line))
    return (said:gsub("\t[^\n]*", ""))
  end
end

-- zsh completes in its line editor alone: what it would insert is listed.
function shells.zsh(root, made)
  return function(...)
    local p <close> = outside.terminal("sh", "-c", ("stty cols 400 rows 300; "
      .. "cd '%s'; exec env HOME='%s' ZDOTDIR='%s' TERM=xterm LC_ALL=C.UTF-8 "
      .. "PS1='READY> ' zsh -f"):format(root, made, made))
    p:expect "READY> "
    outside.write(made .. "/start", ([[
      fpath=('%s' $fpath)
      autoload -Uz compinit && compinit -u -D
      zstyle ':completion:*' list-grouped false
      zstyle ':completion:*' verbose false
      unsetopt auto_menu prompt_cr prompt_sp
      setopt list_rows_first
      LISTMAX=10000
      zle -C listed list-choices _main_complete
      bindkey '^T' listed
      PS1='GO> '
    ]]):format(made))
    assert(os.execute(("cp '%s/saros.zsh' '%s/_saros'"):format(doc, made)))
    p:write(". '" .. made .. "/start'\n")
    p:expect "GO> "
    local line = "saros " .. table.concat({ ... }, " ")
    p:write(line .. "\20")
    p:expect(line)
    -- What is listed is there when the next key is shown.
    p:write "X"
    p:expect "X"
    local screen = screens.new(400)
    screen:feed(p.output)
    p:write "\21exit\n"
    local rows, said = screen:rows(), {}
    for i, row in ipairs(rows) do
      if row:find("GO> saros", 1, true) then
        said = table.move(rows, i + 1, #rows, 1, {})
      end
    end
    return table.concat(said, "\n")
  end
end

local function has(text, name)
  return (" " .. text:gsub("%s", " ") .. " "):find(" " .. name .. " ", 1, true)
    ~= nil
end

for _, name in ipairs { "bash", "zsh", "fish" } do
  describe(name, function()
    if not outside.installed(name) then
      return pending(name .. " is not installed")
    end

    it("takes it for a script", function()
      local flag = name == "bash" and "--norc" or name == "zsh" and "-f"
        or "--no-config"
      local _, how, code = outside.run(name, flag, "-n", doc .. "/saros." .. name)
      assert.same({ "exit", 0 }, { how, code })
    end)

    it("completes verbs, options and their values", function()
      prepared(function(root, made)
        local ask = shells[name](root, made)
        local all = ask ""
        for _, verb in ipairs(verbs.names) do
          assert.is_true(has(all, verb), verb .. " of\n" .. all)
        end
        assert.is_false(has(all, "file-one"))
        local some = ask "re"
        assert.is_true(has(some, "restore") and has(some, "repl"), some)
        assert.is_false(has(some, "backup"), some)
        local option = ask("restore", "--ov")
        if name ~= "zsh" then assert.matches("%-%-overwrite", option) end
        local values = ask("restore", "--overwrite", "if-")
        assert.is_true(has(values, "if-changed") and has(values, "if-newer"),
          values)
        assert.is_false(has(values, "always"), values)
        local topics = ask("help", "")
        assert.is_true(has(topics, "exit-codes") and has(topics, "backup"), topics)
      end)
    end)

    it("completes directories and files where these are meant", function()
      prepared(function(root, made)
        local ask = shells[name](root, made)
        local directories = ask("backup", "--repo", "dir-")
        assert.matches("dir%-one", directories)
        assert.matches("dir%-two", directories)
        assert.is_nil(directories:find("dir-file", 1, true))
        assert.matches("file%-one", ask("backup", "--password-file", "fil")
          .. ask("backup", "fil"))
        -- No verb's argument is a file because another verb's is.
        assert.is_nil(ask("versions", "fil"):find("file-one", 1, true))
      end)
    end)

    it("completes the words of a verb, and then its files", function()
      prepared(function(root, made)
        local ask = shells[name](root, made)
        for verb, list in pairs { shadows = { "take", "reap", "unexpose" },
          transfer = { "get", "put", "suspend" } }
        do
          local all = ask(verb, "")
          for _, word in ipairs(list) do
            assert.is_true(has(all, word), word .. " of\n" .. all)
          end
          assert.is_nil(all:find("file-one", 1, true), all)
        end
        local some = ask("shadows", "un")
        assert.is_true(has(some, "unexpose") or name == "zsh", some)
        local files = ask("shadows", "take", "fil")
        assert.matches("file%-one", files)
        files = ask("shadows", "take", "")
        assert.is_false(has(files, "reap"), files)
        assert.matches("dir%-file", files)
        assert.is_true(has(ask("shadows", "--provider", "btrfs", ""), "take"))
      end)
    end)

    it("is not led astray by names of files", function()
      prepared(function(root, made)
        local ask = shells[name](root, made)
        local files = ask("backup", "hostile")
        assert.matches("hostile.*with.* space", files)
        assert.is_nil(io.open(root .. "/pwned"))
        assert.matches("touch", files)
      end)
    end)
  end)
end

describe("the words of a verb", function()
  it("are those that it knows", function()
    for _, name in ipairs { "shadows", "transfer" } do
      local verb = verbs.load(name)
      local usage = {}
      for word in verb.usage:match "%[(.-)%]":gmatch "%l+" do
        usage[#usage + 1] = word
      end
      local list = table.move(verb.arguments.words, 1, #verb.arguments.words, 1, {})
      table.sort(usage)
      table.sort(list)
      assert.same(usage, list)
    end
  end)
end)

describe("an installation", function()
  it("has them where the shells look", function()
    local made <close> = cli.scratch()
    local here = os.getenv "PWD"
    local said, how, code = outside.run("make", "-s", "-n", "-C", here, "install",
      "DESTDIR=" .. made.path, "BUILD=" .. doc:gsub("/doc$", ""))
    assert.same({ "exit", 0 }, { how, code }, said)
    for _, path in ipairs { "share/bash-completion/completions/saros",
      "share/zsh/site-functions/_saros",
      "share/fish/vendor_completions.d/saros.fish" } do
      assert.is_truthy(said:find(made.path .. "/usr/local/" .. path, 1, true), path)
    end
  end)
end)
