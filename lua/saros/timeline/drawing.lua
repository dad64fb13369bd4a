---@private
-- How the page's script draws a run: its lanes, below them at the same times its
-- bytes, and under a glass the moment for which anybody was held. A part of
-- saros.timeline.script, whose words it uses.

return [==[
// ---- a run ----

const [LANE, AT, END, STATE, NAME, WHY] = [0, 1, 2, 3, 4, 5];
const ROWS = 14, LANES = 60;

// Which operations lie beside each other: each takes the first row of its lane
// that is free; of too many the last one takes all.
function pack(run) {
  const lanes = run.lanes.map(() => ({ rows: [], ends: [] }));
  run.ops.forEach((op, i) => {
    const l = lanes[op[LANE]];
    let r = l.ends.findIndex((end) => end <= op[AT]);
    if (r < 0) r = l.ends.length < ROWS ? l.ends.length : ROWS - 1;
    l.ends[r] = Math.max(l.ends[r] || 0, op[END]);
    (l.rows[r] = l.rows[r] || []).push(i);
  });
  return lanes;
}

class Timeline {
  constructor(run, host) {
    this.run = run;
    this.host = host;
    this.lanes = pack(run);
    this.from = 0;
    this.to = run.last;
    this.chosen = -1;
    this.mark = Math.max(run.last * 0.0001, 0.1);
    const tools = html(host, "div", "bar-tools");
    for (const [label, title, f] of [["−", "Show more time", 2],
        ["+", "Show less time", 0.5], ["All", "Show all of the run", 0]]) {
      const b = html(tools, "button", "", label);
      b.type = "button";
      b.title = title;
      b.setAttribute("aria-label", title);
      b.addEventListener("click", () => this.zoom(f));
    }
    this.svg = svg(host, "svg", { tabindex: 0, role: "application",
      "aria-roledescription": "timeline", "aria-label":
      "Timeline of " + run.ops.length + " operations. Arrow keys go from one " +
      "to the next, plus and minus change the scale. The same is in the table " +
      "of operations below.", "aria-describedby": "said-" + run.id });
    this.said = html(host, "p", "said");
    this.said.id = "said-" + run.id;
    this.said.setAttribute("aria-live", "polite");
    this.tell();
    this.listen();
    this.draw();
  }

  zoom(factor, middle) {
    const width = (this.to - this.from) * factor;
    if (factor === 0 || width >= this.run.last) {
      this.from = 0;
      this.to = this.run.last;
    } else {
      const op = this.run.ops[this.chosen];
      if (middle === undefined) {
        middle = op ? (op[AT] + op[END]) / 2 : (this.from + this.to) / 2;
        if (middle < this.from || middle > this.to)
          middle = (this.from + this.to) / 2;
      }
      const w = Math.max(width, 1);
      this.show(middle - w / 2, middle + w / 2);
      return;
    }
    this.draw();
  }

  show(from, to) {
    const w = Math.min(to - from, this.run.last);
    this.from = Math.min(Math.max(0, from), this.run.last - w);
    this.to = this.from + w;
    this.draw();
  }

  // ---- layout ----

  draw() {
    const width = Math.max(this.host.clientWidth, 260);
    const narrow = width < 620;
    this.left = narrow ? 0 : 176;
    this.right = width - 2;
    this.width = width;
    this.bar = 16;
    this.svg.replaceChildren();
    let y = 22;
    this.places = this.lanes.slice(0, LANES).map((l, i) => {
      if (narrow) y += 17;
      const deep = l.rows.length > 5;
      const pitch = deep ? 8 : this.bar + 3;
      const place = { y, pitch, bar: deep ? 6 : this.bar, rows: l.rows, i };
      y += Math.max(1, l.rows.length) * pitch + (narrow ? 5 : 7);
      place.end = y;
      return place;
    });
    this.bottom = y;
    this.axis(narrow);
    const under = svg(this.svg, "g", {});
    this.drawLanes(narrow);
    if (this.lanes.length > LANES) {
      y += 16;
      svg(this.svg, "text", { x: this.left, y, class: "dim" },
        "and " + (this.lanes.length - LANES) + " more lanes, in the table");
      y += 6;
    }
    y = this.drawBytes(y, narrow);
    y = this.drawHeld(y, narrow, under);
    this.over = svg(this.svg, "g", {});
    this.choose(this.chosen, true);
    this.svg.setAttribute("viewBox", "0 0 " + width + " " + y);
    this.svg.setAttribute("height", y);
  }

  x(ms) {
    return this.left + (ms - this.from) / (this.to - this.from) *
      (this.right - this.left);
  }

  axis(narrow) {
    const step = stepFor(this.to - this.from, narrow ? 4 : 9);
    let grid = "";
    for (let t = Math.ceil(this.from / step) * step; t <= this.to; t += step) {
      const x = Math.round(this.x(t));
      grid += "M" + x + " 17V" + this.bottom;
      const last = x > this.right - 28;
      svg(this.svg, "text", { x, y: 11, class: "tick",
        "text-anchor": last ? "end" : t === 0 ? "start" : "middle" },
        tick(t, step));
    }
    svg(this.svg, "path", { d: grid, class: "grid" });
  }

  label(lane, x, y, room) {
    const named = svg(this.svg, "text", { x, y });
    if (lane[1]) {
      const kind = svg(named, "tspan", { class: "dim" }, lane[0] + " ");
      svg(named, "tspan", {},
        apart(fitted(lane[1], room - textWidth(kind.textContent))));
    } else {
      svg(named, "tspan", {}, lane[0]);
    }
    svg(named, "title", {}, laneName(lane));
  }

  // One path for each state of a row: ten thousand bars are a few elements.
  drawLanes(narrow) {
    const paths = new Map(), crosses = [], labels = [];
    const ops = this.run.ops;
    let rule = "";
    for (const p of this.places) {
      const lane = this.run.lanes[p.i];
      this.label(lane, 0, narrow ? p.y - 5 : p.y + 12,
        narrow ? this.width - 4 : this.left - 14);
      rule += "M0 " + (p.end - (narrow ? 2 : 4)) + "H" + this.right;
      p.rows.forEach((row, r) => {
        const y = p.y + r * p.pitch;
        const drawn = {};
        row.forEach((index, k) => {
          const op = ops[index];
          if (op[END] < this.from || op[AT] > this.to) return;
          const x = Math.max(this.x(op[AT]), this.left);
          const end = Math.min(this.x(op[END]), this.right);
          const w = Math.max(end - x, 1.5), s = op[STATE];
          const failed = s === 1 || s === 6;
          if (failed && crosses.length < 400)
            crosses.push([x + w + 6, y + p.bar / 2]);
          if (drawn[s] !== undefined && x + w <= drawn[s]) return;
          drawn[s] = Math.max(x + w, x + 1);
          const key = "b" + s, shown = (w > 4 ? w - 1 : w).toFixed(1);
          paths.set(key, (paths.get(key) || "") + "M" + x.toFixed(1) + " " + y +
            "h" + shown + "v" + p.bar + "h-" + shown + "z");
          if (p.bar < 12 || labels.length > 300) return;
          const next = ops[row[k + 1]];
          const free = next && next[AT] < this.to ? this.x(next[AT])
            : this.right;
          labels.push([op, x, w, free - x - w, y, failed]);
        });
      });
    }
    svg(this.svg, "path", { d: rule, class: "grid" });
    for (const [key, d] of paths)
      svg(this.svg, "path", { d, class: "op " + key });
    for (const [op, x, w, free, y, failed] of labels) {
      const hollow = [2, 3, 5, 6].includes(op[STATE]);
      const need = textWidth(op[NAME]);
      if (need + 10 <= w)
        svg(this.svg, "text", { x: x + 5, y: y + 12,
          class: hollow ? "beside" : "onbar" }, apart(op[NAME]));
      else if (need + (failed ? 22 : 12) <= free)
        svg(this.svg, "text", { x: x + w + (failed ? 15 : 5), y: y + 12,
          class: "beside" }, apart(op[NAME]));
    }
    svg(this.svg, "path", { class: "cross", d: crosses.map(([x, y]) => "M" +
      (x - 3) + " " + (y - 3) + "l6 6m0-6l-6 6").join("") });
  }

  // The same time, below: what had been carried.
  drawBytes(y, narrow) {
    // What counts to one is no transfer.
    const lines = this.run.lines.filter((l) => l.points.some((p) => p[1] > 1));
    if (!lines.length) return y;
    const tall = 74;
    const top = y + 34, base = top + tall;
    let most = 1;
    for (const l of lines) for (const p of l.points)
      most = Math.max(most, p[1]);
    svg(this.svg, "text", { x: 0, y: narrow ? top - 10 : top + 9 }, "Bytes");
    const kx = narrow ? this.right : this.left - 8;
    svg(this.svg, "text", { x: narrow ? kx : 0, y: narrow ? top - 10 : top + 25,
      class: "dim", "text-anchor": narrow ? "end" : "start" },
      "up to " + size(most));
    svg(this.svg, "path", { class: "grid", d: "M" + this.left + " " + base +
      "H" + this.right + "M" + this.left + " " + top + "H" + this.right });
    const clip = "clip-" + this.run.id;
    const c = svg(svg(this.svg, "defs", {}), "clipPath", { id: clip });
    svg(c, "rect", { x: this.left, y: top - 4, height: tall + 8,
      width: this.right - this.left });
    const g = svg(this.svg, "g", { "clip-path": "url(#" + clip + ")" });
    const above = narrow ? [top - 10] : [];
    lines.forEach((l, i) => {
      const at = (p) => this.x(p[0]).toFixed(1) + " " +
        (base - p[1] / most * tall).toFixed(1);
      const first = l.points[0], last = l.points[l.points.length - 1];
      const d = l.points.map(at).join("L");
      if (lines.length < 4)
        svg(g, "path", { class: "area", d: "M" + this.x(first[0]).toFixed(1) +
          " " + base + "L" + d + "L" + this.x(last[0]).toFixed(1) + " " + base +
          "z" });
      svg(g, "path", { class: "line l" + i % 3, d: "M" + d });
      const x = this.x(last[0]);
      if (i > 5 || x < this.left || x > this.right) return;
      let ly = base - last[1] / most * tall - 5;
      while (above.some((o) => Math.abs(o - ly) < 13)) ly += 13;
      above.push(ly);
      const says = l.name.replace(/^target /, "") + " " + size(last[1]);
      const right = x + textWidth(says) + 6 > this.right;
      svg(this.svg, "text", { x: right ? x - 2 : x + 5, y: ly + 4,
        class: "dim halo", "text-anchor": right ? "end" : "start" },
        apart(fitted(says, (right ? x - this.left : this.right - x) - 6)));
    });
    return base + 8;
  }

  // What had to hold still is a moment of the run: a glass lies over it.
  drawHeld(y, narrow, under) {
    const h = this.run.held;
    if (!h) return y;
    const pad = Math.max((h.to - h.from) * 0.04, 0.05);
    const from = h.from - pad, to = h.to + pad;
    const top = y + 74;
    const x = (ms) => this.left + (ms - from) / (to - from) *
      (this.right - this.left);
    const rows = h.rows.slice(0, 40);
    const height = 24 + rows.length * (narrow ? 35 : 19) + 8;
    const a = Math.min(Math.max(this.x(h.from), this.left), this.right);
    const b = Math.min(Math.max(this.x(h.to), a + 2), this.right + 2);
    const seen = h.to >= this.from && h.from <= this.to;
    if (seen) {
      svg(under, "rect", { x: a, y: 17, width: b - a, height: y - 17,
        class: "band" });
      svg(under, "path", { class: "edge", d: "M" + a + " 17V" + y + "M" + b +
        " 17V" + y });
      svg(under, "path", { class: "lens", d: "M" + a + " " + y + "H" + b +
        "C" + b + " " + (y + 30) + " " + this.right + " " + (y + 10) + " " +
        this.right + " " + top + "H" + this.left + "C" + this.left + " " +
        (y + 10) + " " + a + " " + (y + 30) + " " + a + " " + y + "Z" });
    }
    svg(under, "path", { class: "edge", d: "M" + this.left + " " + top + "H" +
      this.right + "V" + (top + height) + "H" + this.left + "Z" });
    svg(this.svg, "text", { x: 0, y: narrow ? top - 8 : top + 15 },
      "These " + span(h.to - h.from) + ", larger");
    const step = stepFor(to - from, narrow ? 4 : 8);
    let grid = "";
    for (let t = 0; t <= to - h.from; t += step) {
      const tx = Math.round(x(h.from + t));
      const says = step < 1 ? t.toFixed(2) + " ms" : t < 1000 || step % 1000
        ? Math.round(t * 10) / 10 + " ms" : t / 1000 + " s";
      grid += "M" + tx + " " + (top + 20) + "V" + (top + height);
      if (tx + 6 + textWidth(says) < this.right)
        svg(this.svg, "text", { x: tx + 4, y: top + 15, class: "tick" }, says);
    }
    svg(this.svg, "path", { class: "grid", d: grid });
    rows.forEach((r, i) => {
      const [kind, name, f, t] = r;
      const ry = top + 24 + i * (narrow ? 35 : 19) + (narrow ? 17 : 0);
      const says = span(t - f);
      this.label([kind, name], narrow ? 6 : 0, narrow ? ry - 4 : ry + 12,
        narrow ? this.width - 12 : this.left - 14);
      const w = Math.max(x(t) - x(f), 1.5);
      svg(this.svg, "rect", { x: x(f), y: ry + 1.5, width: w, height: 12,
        class: kind === "writer" ? "hw" : "hv" });
      const room = textWidth(says) + 10;
      const inside = w > room + 4 && x(t) + room > this.right;
      svg(this.svg, "text", { x: inside ? x(t) - 6 : x(t) + 6, y: ry + 12,
        class: inside && kind === "writer" ? "onbar" : "beside",
        "text-anchor": inside ? "end" : "start" }, says);
    });
    return top + height + 4;
  }

  // ---- what is chosen ----

  tell(op) {
    this.said.replaceChildren();
    if (!op) {
      html(this.said, "span", "dim", "Point at a bar, or use the arrow keys. " +
        "Drag over the drawing to magnify it, Esc shows all of it again.");
      return;
    }
    const name = html(this.said, "b", "");
    html(name, "bdi", "", op[NAME]);
    html(this.said, "span", "dim", " · ");
    html(this.said, "bdi", "dim", laneName(this.run.lanes[op[LANE]]));
    this.said.append(" ");
    html(this.said, "span", "state " + STATES[op[STATE]], STATES[op[STATE]]);
    html(this.said, "span", "dim", " · from " + span(op[AT]) + ", for " +
      span(op[END] - op[AT]) + " ");
    if (op[WHY]) html(this.said, "div", "", op[WHY]);
  }

  place(index) {
    const op = this.run.ops[index], p = op && this.places[op[LANE]];
    if (!p) return null;
    const r = p.rows.findIndex((row) => row && row.includes(index));
    const x = Math.max(this.x(op[AT]), this.left);
    return { x, y: p.y + r * p.pitch, height: p.bar,
      width: Math.max(Math.min(this.x(op[END]), this.right) - x, 2) };
  }

  choose(index, quiet) {
    this.chosen = index;
    this.over.replaceChildren();
    const op = this.run.ops[index];
    if (!op) return;
    if (!quiet && (op[END] < this.from || op[AT] > this.to)) {
      const w = this.to - this.from;
      this.show(op[AT] - w / 4, op[AT] + w * 3 / 4);
      return this.tell(op);
    }
    const p = this.place(index);
    if (p && p.x <= this.right)
      svg(this.over, "rect", { x: p.x - 2.5, y: p.y - 2.5,
        width: p.width + 5, height: p.height + 5, class: "chosen" });
    if (!quiet) this.tell(op);
  }

  at(event) {
    const box = this.svg.getBoundingClientRect();
    const x = (event.clientX - box.left) * this.width / box.width;
    const y = (event.clientY - box.top) * this.width / box.width;
    const ms = this.from + (x - this.left) / (this.right - this.left) *
      (this.to - this.from);
    let index = -1;
    const p = this.places.find((q) => y >= q.y - 2 && y < q.end);
    if (p && x >= this.left - 4) {
      const r = Math.min(Math.floor((y - p.y) / p.pitch), p.rows.length - 1);
      const near = (this.to - this.from) / (this.right - this.left) * 6;
      let best = near;
      for (const i of p.rows[Math.max(r, 0)] || []) {
        const op = this.run.ops[i];
        const d = ms < op[AT] ? op[AT] - ms : ms > op[END] ? ms - op[END] : 0;
        if (d < best) { best = d; index = i; }
        if (d === 0) break;
      }
    }
    return { ms, index, x };
  }

  listen() {
    let begun = null, box = null;
    this.svg.addEventListener("pointerdown", (e) => {
      if (e.button || e.pointerType === "touch") return;
      begun = this.at(e);
    });
    this.svg.addEventListener("pointermove", (e) => {
      const now = this.at(e);
      if (begun && Math.abs(now.x - begun.x) > 4) {
        this.svg.setPointerCapture(e.pointerId);
        if (!box || !box.isConnected)
          box = svg(this.over, "rect", { y: 17, class: "drag",
            height: this.bottom - 17 });
        const a = Math.max(Math.min(now.x, begun.x), this.left);
        box.setAttribute("x", a);
        box.setAttribute("width",
          Math.max(Math.min(Math.max(now.x, begun.x), this.right) - a, 0));
      } else if (!begun) {
        this.tell(this.run.ops[now.index >= 0 ? now.index : this.chosen]);
      }
    });
    this.svg.addEventListener("pointerup", (e) => {
      const now = this.at(e);
      if (begun && box && box.isConnected) {
        const from = Math.min(now.ms, begun.ms), to = Math.max(now.ms, begun.ms);
        box.remove();
        this.show(Math.max(from, 0), Math.max(to, from + 0.5));
      } else {
        this.choose(now.index);
      }
      begun = box = null;
    });
    this.svg.addEventListener("pointerleave", () => {
      if (!begun) this.tell(this.run.ops[this.chosen]);
    });
    this.svg.addEventListener("keydown", (e) => {
      if (e.ctrlKey || e.metaKey || e.altKey) return;
      const f = { ArrowRight: () => this.step(1), ArrowLeft: () => this.step(-1),
        ArrowDown: () => this.lane(1), ArrowUp: () => this.lane(-1),
        Home: () => this.choose(0),
        End: () => this.choose(this.run.ops.length - 1),
        "+": () => this.zoom(0.5), "=": () => this.zoom(0.5),
        "-": () => this.zoom(2),
        Escape: () => { this.chosen = -1; this.tell(); this.zoom(0); },
        "0": () => this.zoom(0) }[e.key];
      if (!f) return;
      e.preventDefault();
      f();
    });
  }

  // The next in the same lane; nobody chosen: the first.
  step(by) {
    const ops = this.run.ops;
    if (!ops[this.chosen]) return this.choose(by > 0 ? 0 : ops.length - 1);
    const lane = ops[this.chosen][LANE];
    for (let i = this.chosen + by; ops[i]; i += by)
      if (ops[i][LANE] === lane) return this.choose(i);
    this.choose(this.chosen);
  }

  // What was done at that time in the next lane.
  lane(by) {
    const ops = this.run.ops;
    if (!ops[this.chosen]) return this.choose(0);
    const at = ops[this.chosen][AT], lane = ops[this.chosen][LANE] + by;
    let best = -1, least = Infinity;
    ops.forEach((op, i) => {
      if (op[LANE] !== lane) return;
      const d = op[AT] <= at && op[END] >= at ? 0 : Math.abs(op[AT] - at);
      if (d < least) { least = d; best = i; }
    });
    this.choose(best < 0 ? this.chosen : best);
  }
}

]==]
