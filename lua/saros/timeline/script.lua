---@private
-- What draws: the page's only script. It knows the run as model.data has it, sets
-- no markup, only texts, and asks for nothing. Without it the tables are there.

local drawing <const> = require "saros.timeline.drawing"

local words <const> = [==[
"use strict";
(() => {
const root = document.documentElement;
root.classList.add("js");
const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const STATES = data.states;

// ---- words ----

const two = (n) => String(n).padStart(2, "0");

function span(ms) {
  if (ms < 10) return ms.toFixed(1) + " ms";
  if (ms < 1000) return Math.round(ms) + " ms";
  if (ms < 60000) return (ms / 1000).toFixed(1) + " s";
  const s = Math.floor(ms / 1000);
  if (s < 3600) return Math.floor(s / 60) + " min " + two(s % 60) + " s";
  return Math.floor(s / 3600) + " h " + two(Math.floor(s % 3600 / 60)) + " min";
}

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let at = 0;
  while (bytes >= 1024 && at < 5) { bytes /= 1024; at++; }
  return (at ? bytes.toFixed(1) : bytes) + " " + units[at];
}

function age(ms) {
  const s = Math.floor(ms / 1000);
  if (s < 60) return "a moment";
  if (s < 7200) return Math.floor(s / 60) + " min";
  if (s < 172800) return Math.floor(s / 3600) + " h";
  return Math.floor(s / 86400) + " d";
}

// A name keeps its direction to itself.
const apart = (text) => "\u2068" + text + "\u2069";
const laneName = (l) => l[1] ? l[0] + " " + l[1] : l[0];

// ---- a drawing ----

const NS = "http://www.w3.org/2000/svg";
function svg(parent, tag, attributes, text) {
  const e = document.createElementNS(NS, tag);
  for (const k in attributes) e.setAttribute(k, attributes[k]);
  if (text !== undefined) e.textContent = text;
  parent.appendChild(e);
  return e;
}
function html(parent, tag, cls, text) {
  const e = document.createElement(tag);
  if (cls) e.className = cls;
  if (text !== undefined) e.textContent = text;
  parent.appendChild(e);
  return e;
}

const STEPS = [1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5,
  36e5, 72e5, 144e5, 216e5, 432e5, 864e5];

function stepFor(width, count) {
  const least = width / count;
  if (least > 500) return STEPS.find((s) => s >= least) || 864e5;
  const ten = Math.pow(10, Math.floor(Math.log10(least)));
  return [1, 2, 5, 10].map((f) => f * ten).find((s) => s >= least * 0.999);
}

function tick(ms, step) {
  if (step < 1) return +ms.toFixed(3) + " ms";
  if (step < 1000) return ms >= 1000 ? +(ms / 1000).toFixed(3) + " s"
    : Math.round(ms) + " ms";
  const s = Math.round(ms / 1000);
  if (s < 3600) return Math.floor(s / 60) + ":" + two(s % 60);
  return Math.floor(s / 3600) + ":" + two(Math.floor(s % 3600 / 60)) + ":" +
    two(s % 60);
}

let measure = null;
function textWidth(text) {
  if (!measure) {
    measure = document.createElement("canvas").getContext("2d");
    measure.font = "12px " + getComputedStyle(document.body).fontFamily;
  }
  return measure.measureText(text).width;
}

function fitted(text, width) {
  if (textWidth(text) <= width) return text;
  let n = Math.max(1, Math.floor(text.length * width / textWidth(text)));
  while (n > 1 && textWidth(text.slice(0, n) + "…") > width) n--;
  return text.slice(0, n) + "…";
}

]==]

-- What is drawn of a run is the other file's.
local rest <const> = [==[
// ---- all versions, and all runs ----

function drawVersions(host, place) {
  const width = Math.max(host.clientWidth, 260), tall = 58;
  const list = place.versions, gap = list.length > 60 ? 1 : 3;
  const each = Math.min((width - 78) / list.length, 46);
  const kinds = [["total", "whole"], ["added", "added"]].filter(
    ([key]) => list.some((v) => v[key] !== undefined));
  const height = kinds.length * (tall + 17);
  const s = svg(host, "svg", { role: "img", "aria-label":
    "Sizes of " + list.length + " versions; the same is in the table below",
    viewBox: "0 0 " + width + " " + height, height });
  kinds.forEach(([key, cls], n) => {
    const top = n * (tall + 22);
    const most = Math.max(1, ...list.map((v) => v[key] || 0));
    svg(s, "path", { class: "grid", d: "M0 " + (top + tall + 8) + "H" +
      (width - 70) });
    svg(s, "text", { x: width - 64, y: top + 18, class: "dim" }, size(most));
    list.forEach((v, i) => {
      if (v[key] === undefined) return;
      const h = Math.max(v[key] / most * tall, v[key] > 0 ? 1 : 0);
      const bar = svg(s, "rect", { x: (i * each).toFixed(1), class: cls,
        y: (top + tall + 8 - h).toFixed(1), height: h.toFixed(1),
        width: Math.max(each - gap, 1).toFixed(1) });
      svg(bar, "title", {}, v.id + ": " + size(v[key]));
    });
  });
}

function drawPast(host, runs) {
  const width = Math.max(host.clientWidth, 260), tall = 54;
  const most = Math.max(1, ...runs.map((r) => r.took || 0));
  const each = Math.min(width / runs.length, 22);
  const s = svg(host, "svg", { role: "group", "aria-label":
    "How long each run took, the newest at the right", height: tall + 8,
    viewBox: "0 0 " + width + " " + (tall + 8) });
  svg(s, "path", { class: "grid", d: "M0 " + (tall + 2) + "H" + width });
  runs.forEach((r, i) => {
    const h = Math.max((r.took || 0) / most * tall, 3);
    const parent = r.drawn ? svg(s, "a", { href: "#run-" + r.id,
      tabindex: -1 }) : s;
    const bar = svg(parent, "rect", { x: (width - (i + 1) * each).toFixed(1),
      y: (tall + 2 - h).toFixed(1), height: h.toFixed(1),
      width: Math.max(each - (each > 5 ? 2 : 0.5), 1).toFixed(1),
      class: "past " + r.state });
    svg(bar, "title", {}, r.name + ": " + r.state +
      (r.took ? ", " + span(r.took) : ""));
  });
}

// ---- the page ----

const drawn = new Map();

// A page with its file's name alone shows the first; what the address names is
// drawn when it is first seen.
function open() {
  let section = $(location.hash.slice(1));
  if (!section || !section.classList.contains("run"))
    section = document.querySelector(".run.first");
  if (!section || drawn.has(section.id)) return;
  const run = data.runs.find((r) => "run-" + r.id === section.id);
  const host = section.querySelector(".figure");
  if (run && host && run.ops.length)
    drawn.set(section.id, new Timeline(run, host));
}

function redraw() {
  for (const t of drawn.values())
    if (t.host.clientWidth) t.draw();
  document.querySelectorAll(".plot").forEach((host) => {
    host.replaceChildren();
    if (host.dataset.past !== undefined) drawPast(host, data.past);
    else drawVersions(host, data.places[+host.dataset.place]);
  });
}

// Ages are those of whoever looks, times those of his clock.
function times() {
  const now = Date.now();
  document.querySelectorAll("time[data-age]").forEach((t) => {
    const passed = now - Date.parse(t.dateTime);
    if (passed >= 0) t.textContent = age(passed) + " ago";
  });
}

document.querySelectorAll("time:not([data-age])").forEach((t) => {
  const d = new Date(t.dateTime);
  if (isNaN(d)) return;
  t.title = t.textContent;
  t.textContent = d.getFullYear() + "-" + two(d.getMonth() + 1) + "-" +
    two(d.getDate()) + " " + two(d.getHours()) + ":" + two(d.getMinutes()) +
    (t.dataset.short === undefined ? ":" + two(d.getSeconds()) : "");
});

const theme = $("theme");
const THEMES = ["auto", "light", "dark"];
let kept = "auto";
try { kept = localStorage.getItem("saros-theme") || "auto"; } catch { }
function dress(name) {
  kept = THEMES.includes(name) ? name : "auto";
  if (kept === "auto") root.removeAttribute("data-theme");
  else root.dataset.theme = kept;
  theme.textContent = "Theme: " + kept;
}
theme.hidden = false;
theme.addEventListener("click", () => {
  dress(THEMES[(THEMES.indexOf(kept) + 1) % 3]);
  try { localStorage.setItem("saros-theme", kept); } catch { }
});
dress(kept);

// A table that is wider than the page is moved with the keys, too.
function reach() {
  document.querySelectorAll(".scroll").forEach((s) => {
    // To ask what is folded up would lay out all that is in it.
    if (s.closest("details:not([open])")) return;
    const wide = s.scrollWidth > s.clientWidth + 1;
    const name = s.querySelector("caption");
    for (const [key, says] of [["tabindex", "0"], ["role", "region"],
      ["aria-label", name ? name.textContent : "table"]]) {
      if (wide) s.setAttribute(key, says);
      else s.removeAttribute(key);
    }
  });
}
document.addEventListener("toggle", reach, true);

addEventListener("hashchange", () => { open(); reach(); scrollTo(0, 0); });
let due = 0;
addEventListener("resize", () => {
  cancelAnimationFrame(due);
  due = requestAnimationFrame(() => { redraw(); reach(); });
});
reach();
times();
setInterval(times, 30000);
open();
redraw();
root.dataset.ready = String(Math.round(performance.now()));
})();
]==]

return { text = words .. drawing .. rest }
