---@private
-- How the page looks. One hue is kept for what writers had to stand still for,
-- one for what failed; all else is ink. No colour says anything alone.

local palettes <const> = {
  light = { paper = "#fbfbfa", ink = "#17191c", soft = "#5b6369",
    line = "#dddfdf", faint = "#f0f1f0", bar = "#587a98", pale = "#c3cfd9",
    held = "#b97a00", glow = "#f5d48a", bad = "#bf2419", wash = "#fbeceb",
    good = "#2c7a4b", warn = "#a35c00", focus = "#1a63c4" },
  dark = { paper = "#101317", ink = "#e6e8ea", soft = "#98a1a9",
    line = "#2b3138", faint = "#191e23", bar = "#7ba3c7", pale = "#3b4a58",
    held = "#e9b44c", glow = "#6a5014", bad = "#ff7166", wash = "#2a1615",
    good = "#6cc08b", warn = "#f0a04b", focus = "#7ab3ff" },
}

local function variables(palette)
  local names, list = {}, {}
  for name in pairs(palette) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do
    list[i] = ("--%s:%s"):format(name, palette[name])
  end
  return table.concat(list, ";")
end

local themes = (":root{color-scheme:light;%s}\n"
  .. "@media(prefers-color-scheme:dark){"
  .. ":root:not([data-theme=light]){color-scheme:dark;%s}}\n"
  .. ":root[data-theme=dark]{color-scheme:dark;%s}\n"):format(
  variables(palettes.light), variables(palettes.dark),
  variables(palettes.dark))

local rules <const> = [==[
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);
  font:16px/1.5 system-ui,-apple-system,"Segoe UI","Noto Sans",
  "Liberation Sans",sans-serif;font-variant-numeric:tabular-nums}
main,.top{max-width:70rem;margin:0 auto;padding:0 clamp(1rem,4vw,2.5rem)}
main{padding-bottom:5rem}
a{color:inherit;text-decoration-color:var(--soft);text-underline-offset:.2em}
a:hover{text-decoration-color:currentColor}
:focus-visible{outline:2px solid var(--focus);outline-offset:3px}
.skip{position:absolute;left:-99rem}
.skip:focus{left:1rem;top:.5rem;background:var(--paper);padding:.3rem .6rem}
bdi{overflow-wrap:anywhere}
code,pre,.mono{font-family:ui-monospace,"Cascadia Mono","DejaVu Sans Mono",
  "Liberation Mono",monospace;font-size:.86em}

.top{display:flex;gap:.6rem;align-items:center;padding-top:1.1rem;
  padding-bottom:1.1rem;color:var(--soft);font-size:.9rem}
.top b{color:var(--ink);font-weight:600;letter-spacing:.01em}
.top .made{margin-left:auto;text-align:right}
.moon{width:1.35rem;height:1.35rem;flex:none}
.moon .sun{fill:none;stroke:var(--held);stroke-width:1.6}
.moon .disc{fill:var(--ink)}
button{font:inherit;font-size:.85rem;color:var(--soft);background:none;
  border:1px solid var(--line);border-radius:4px;padding:.15rem .6rem;
  cursor:pointer;white-space:nowrap}
button:hover{color:var(--ink);border-color:var(--soft)}

.board{list-style:none;margin:0 0 1.5rem;padding:0;
  border-top:1px solid var(--line)}
.board li{border-bottom:1px solid var(--line)}
.board a{display:flex;flex-wrap:wrap;gap:0 1rem;padding:.45rem 0;
  text-decoration:none}
.board a:hover .who{text-decoration:underline}
.board .who{font-weight:600;min-width:9rem}
.board .rest{color:var(--soft)}
.others{margin:-.8rem 0 1.4rem}
.state{white-space:nowrap}
.state::before{content:"";display:inline-block;width:.62em;height:.62em;
  margin-right:.5em;border-radius:50%;background:var(--good)}
.state.failed,.state.interrupted{color:var(--bad);font-weight:600}
.state.failed::before,.state.interrupted::before{background:var(--bad);
  border-radius:0;transform:rotate(45deg) scale(.95)}
.state.partial,.state.late{color:var(--warn);font-weight:600}
.state.partial::before,.state.late::before{background:linear-gradient(90deg,
  var(--warn) 50%,transparent 50%);box-shadow:inset 0 0 0 1.5px var(--warn)}
.state.running::before{background:none;box-shadow:inset 0 0 0 2px var(--bar)}
.state.cancelled::before,.state.skipped::before{background:none;
  box-shadow:inset 0 0 0 1.5px var(--soft)}

.run{display:none}
.run.first,.run:target{display:block}
body:has(.run:target) .run.first:not(:target){display:none}
h1{font-size:clamp(1.9rem,5.2vw,3.1rem);line-height:1.08;font-weight:650;
  letter-spacing:-.025em;margin:.6rem 0 .5rem;overflow-wrap:anywhere;
  text-wrap:balance}
.run.failed h1 em,.run.interrupted h1 em{color:var(--bad);font-style:normal}
.run.partial h1 em{color:var(--warn);font-style:normal}
h1 em{font-style:normal}
.when{color:var(--soft);margin:0 0 1.6rem}
h2{font-size:1.12rem;font-weight:650;letter-spacing:-.005em;margin:3rem 0 .3rem}
h3{font-size:.95rem;font-weight:600;margin:1.6rem 0 .3rem}
.about{color:var(--soft);margin:0 0 .8rem;max-width:46rem;font-size:.93rem}

.wrong{border-left:3px solid var(--bad);background:var(--wash);
  padding:1rem 1.2rem 1.1rem;margin:0 0 1.6rem}
.wrong.partial{border-color:var(--warn);background:var(--faint)}
.wrong .where{margin:0;color:var(--soft);font-size:.9rem}
.wrong .what{margin:.15rem 0 0;font-size:1.18rem;line-height:1.4;
  font-weight:600;max-width:52rem;overflow-wrap:anywhere}
.chain{list-style:none;margin:.5rem 0 0;padding:0;max-width:52rem}
.chain li{position:relative;padding-left:1.5rem;margin:.35rem 0;
  overflow-wrap:anywhere}
.chain li::before{content:"↳";position:absolute;left:.1rem;color:var(--bad)}
.wrong .code{color:var(--soft);font-size:.8rem;white-space:nowrap}
.todo{margin:.9rem 0 0;max-width:52rem}
.todo b,.safe b{font-weight:650}
.safe{margin:.35rem 0 0;max-width:52rem}
.wrong + .wrong{margin-top:-.8rem}
.log{margin:0 0 1.6rem;padding:.6rem 0 .6rem 1rem;overflow-x:auto;
  border-left:1px solid var(--line);line-height:1.55;white-space:pre-wrap;
  overflow-wrap:anywhere}
.log .at{color:var(--soft)}
.log .error{color:var(--bad)}
.log .warning{color:var(--warn)}

.facts{display:grid;margin:0 0 .5rem;gap:1rem 2rem;
  grid-template-columns:repeat(auto-fit,minmax(8.2rem,1fr));
  border-top:1px solid var(--line);padding-top:.9rem}
.facts dt{color:var(--soft);font-size:.84rem}
.facts dd{margin:0;font-size:1.28rem;font-weight:550;letter-spacing:-.01em;
  line-height:1.3;overflow-wrap:anywhere}
.facts dd small{display:block;font-size:.8rem;font-weight:400;
  letter-spacing:0;color:var(--soft)}

.scroll{overflow-x:auto;margin:0 -.2rem;padding:0 .2rem}
table{border-collapse:collapse;width:100%;font-size:.9rem}
caption{text-align:left;color:var(--soft);padding:.3rem 0}
th,td{text-align:left;padding:.34rem .9rem .34rem 0;vertical-align:top;
  border-bottom:1px solid var(--line)}
th{font-weight:500;color:var(--soft);white-space:nowrap}
tbody th{color:inherit}
td.n,th.n{text-align:right;white-space:nowrap}
td.t,th.t{white-space:nowrap}
td bdi,th bdi{display:inline-block;max-width:34rem;overflow-wrap:break-word}
tr:target td,tr:target th{background:var(--faint)}
details{margin:.9rem 0}
summary{cursor:pointer;color:var(--soft);font-size:.93rem;width:fit-content}
summary:hover{color:var(--ink)}
.many{content-visibility:auto;contain-intrinsic-size:auto 600px}
.more{color:var(--soft);font-size:.9rem}

.figure{display:none;position:relative;margin:0}
.js .figure{display:block}
.bar-tools{display:flex;gap:.4rem;justify-content:flex-end;margin:0 0 .3rem}
.figure svg,.plot svg{display:block;width:100%;overflow:visible;
  touch-action:pan-y;font-size:12px;font-family:inherit}
.figure svg:focus-visible{outline-offset:6px}
.said{min-height:3.1em;margin:.5rem 0 0;font-size:.93rem;
  border-top:1px solid var(--line);padding-top:.5rem;overflow-wrap:anywhere}
.said .dim{color:var(--soft)}
svg text{fill:var(--ink)}
svg .dim,svg .tick{fill:var(--soft)}
svg .halo{stroke:var(--paper);stroke-width:3px;paint-order:stroke;
  stroke-linejoin:round}
svg .grid{stroke:var(--line);fill:none;shape-rendering:crispEdges}
svg .b0{fill:var(--bar)}
svg .b1{fill:var(--bad)}
svg .b2,svg .b3{fill:var(--paper);stroke:var(--soft)}
svg .b3{stroke-dasharray:2 2}
svg .b4{fill:var(--warn)}
svg .b5{fill:var(--pale);stroke:var(--bar)}
svg .b6{fill:var(--pale);stroke:var(--bad)}
svg .onbar{fill:var(--paper);pointer-events:none}
svg .beside{fill:var(--soft);pointer-events:none}
svg .cross{stroke:var(--bad);stroke-width:1.8;fill:none}
svg .chosen{fill:none;stroke:var(--ink);stroke-width:1.8;pointer-events:none}
svg .drag{fill:var(--focus);opacity:.14}
svg .band{fill:var(--glow);opacity:.55;pointer-events:none}
svg .edge{stroke:var(--held);fill:none;pointer-events:none}
svg .lens{fill:var(--glow);opacity:.28}
svg .hw{fill:var(--held)}
svg .hv{fill:none;stroke:var(--held);stroke-width:1.6}
svg .line{fill:none;stroke:var(--bar);stroke-width:1.8;stroke-linejoin:round}
svg .line.l1{stroke-dasharray:6 3}
svg .line.l2{stroke-dasharray:2 3}
svg .area{fill:var(--bar);opacity:.13}
svg .whole{fill:var(--pale)}
svg .added{fill:var(--bar)}
svg .past{fill:var(--bar)}
svg .past.failed,svg .past.interrupted{fill:var(--bad)}
svg .past.partial{fill:var(--warn)}
svg .past.cancelled,svg .past.skipped{fill:var(--pale)}
svg .past.running{fill:var(--pale)}
svg a:hover .past{opacity:.7}
.plot{display:none}
.js .plot{display:block}
.key{display:flex;flex-wrap:wrap;gap:.2rem 1.3rem;color:var(--soft);
  font-size:.86rem;margin:.2rem 0 .6rem;padding:0;list-style:none}
.key i{display:inline-block;width:.9em;height:.7em;margin-right:.45em;
  background:var(--bar)}
.key .k-whole{background:var(--pale)}
footer{margin-top:4rem;padding-top:1rem;border-top:1px solid var(--line);
  color:var(--soft);font-size:.86rem}
@media(max-width:40rem){
  .top{gap:.4rem}
  .top .host{display:none}
  .top .made{white-space:nowrap;font-size:.82rem}
  .facts{grid-template-columns:1fr 1fr}
  .wrong{padding:.8rem .9rem}
  .board .who{min-width:0}
  td bdi{max-width:16rem}
}
@media print{.bar-tools,button,.skip,.said{display:none}
  .run.first{display:block}
  :root{--paper:#fff}
  body{font-size:13px;-webkit-print-color-adjust:exact;print-color-adjust:exact}
  main,.top{padding-left:0;padding-right:0}
  .scroll{overflow:visible}
  th,td,td.t,th.t{white-space:normal}
  h1,h2,h3,caption{break-after:avoid}
  .figure,.plot,tr{break-inside:avoid}}
@media screen and (prefers-reduced-motion:no-preference){
  .run:target,.run.first{animation:in .16s ease-out}
  @keyframes in{from{opacity:.4}}}
]==]

return { css = themes .. rules }
