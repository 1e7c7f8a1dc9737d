// Numbers as pictures: grids of cells, bars, curves. Blue is below 0, orange above.

import { el, num } from "./wire.js";

const dark = matchMedia("(prefers-color-scheme: dark)");
let colours;

function read() {
  const style = getComputedStyle(document.documentElement);
  const parts = (name) => style.getPropertyValue(name).trim().slice(1).match(/../g).map((h) => parseInt(h, 16));
  colours = { minus: parts("--blue"), plus: parts("--orange"), mid: parts("--mid"), ink: parts("--text"), paper: parts("--mid") };
}
read();
dark.addEventListener("change", () => { read(); document.querySelectorAll("canvas.grid").forEach((one) => one.grid.draw()); });

const mix = (a, b, t) => a.map((value, k) => Math.round(value + (b[k] - value) * t));

// The colour of t, from -1 to 1; the root makes small ones visible.
export function colour(t, kind = "signed") {
  if (!Number.isFinite(t)) return [128, 128, 128];
  if (kind === "grey") return mix(colours.paper, colours.ink, Math.min(1, Math.max(0, t)));
  return mix(colours.mid, t < 0 ? colours.minus : colours.plus, Math.min(1, Math.abs(t)) ** 0.7);
}

const tip = document.getElementById("tip");
function hint(text, x, y) {
  tip.hidden = !text;
  if (!text) return;
  tip.textContent = text;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(6, Math.min(x + 14, innerWidth - width - 6))}px`;
  tip.style.top = `${y + height + 24 > innerHeight ? y - height - 12 : y + 16}px`;
}
addEventListener("scroll", () => hint(""), { passive: true });

export const columnsOf = (n) => (n === 784 ? 28 : n <= 16 ? n : n <= 240 ? 20 : Math.ceil(Math.sqrt(2 * n)));
const cellOf = (n) => (n === 784 ? 7 : n <= 16 ? 26 : n <= 240 ? 14 : Math.max(3, Math.floor(350 / columnsOf(n))));

// A grid of cells. `describe(i)` is said of the cell under the pointer, `pick(i)` is called for it.
// The arrow keys move from cell to cell.
export class Grid {
  constructor({ label, describe, pick, kind = "signed", columns, cell, legend = true }) {
    Object.assign(this, { describe, pick, kind, columns, cell, values: [], at: -1, chosen: -1 });
    this.canvas = el("canvas", { class: "grid", tabindex: 0, role: "img", "aria-label": label });
    this.legend = legend && kind === "signed" ? el("div", { class: "legend" }) : null;
    this.element = el("figure", { hidden: true }, this.canvas, this.legend);
    this.canvas.addEventListener("pointermove", (event) => this.move(this.under(event), event.clientX, event.clientY));
    this.canvas.addEventListener("pointerdown", (event) => this.move(this.under(event), event.clientX, event.clientY, true));
    this.canvas.addEventListener("pointerleave", () => { this.at = -1; hint(""); this.draw(); });
    this.canvas.addEventListener("blur", () => { this.at = -1; hint(""); this.draw(); });
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.canvas.grid = this;
  }

  show(values, { largest, overlay } = {}) {
    this.values = values;
    this.overlay = overlay;
    const sizes = values.filter(Number.isFinite).map(Math.abs);
    this.largest = largest ?? (Math.max(0, ...sizes) || 1);
    this.wide = this.columns ?? columnsOf(values.length);
    this.size = this.cell ?? cellOf(values.length);
    this.element.hidden = !values.length;
    if (this.legend) this.legend.replaceChildren(`−${num(this.largest, 2)}`, el("i"), `+${num(this.largest, 2)}`);
    this.draw();
  }

  draw() {
    const n = this.values.length, rows = Math.ceil(n / (this.wide || 1));
    if (!n) return;
    const size = this.size, ratio = Math.min(2, devicePixelRatio || 1);
    this.canvas.width = this.wide * size * ratio;
    this.canvas.height = rows * size * ratio;
    this.canvas.style.width = `${this.wide * size}px`;
    const paint = this.canvas.getContext("2d");
    paint.scale(ratio, ratio);
    const gap = size > 8 ? 1 : 0;
    this.values.forEach((value, i) => {
      const rgb = colour(value / this.largest, this.kind);
      const x = (i % this.wide) * size, y = Math.floor(i / this.wide) * size;
      paint.fillStyle = `rgb(${rgb})`;
      paint.fillRect(x, y, size - gap, size - gap);
    });
    if (this.overlay) this.outline(paint);
    for (const [i, width] of [[this.chosen, 2], [this.at, 1.5]]) {
      if (i < 0 || i >= n) continue;
      paint.strokeStyle = `rgb(${colours.ink})`;
      paint.lineWidth = width;
      paint.strokeRect((i % this.wide) * size + 0.5, Math.floor(i / this.wide) * size + 0.5, size - 1, size - 1);
    }
  }

  // A line around the ink.
  outline(paint) {
    const size = this.size, inked = (i) => this.overlay[i] > 0.3;
    paint.strokeStyle = `rgb(${colours.ink})`;
    paint.lineWidth = 1.5;
    paint.beginPath();
    this.overlay.forEach((_, i) => {
      const x = (i % this.wide) * size, y = Math.floor(i / this.wide) * size;
      if (x && inked(i) !== inked(i - 1)) { paint.moveTo(x, y); paint.lineTo(x, y + size); }
      if (y && inked(i) !== inked(i - this.wide)) { paint.moveTo(x, y); paint.lineTo(x + size, y); }
    });
    paint.stroke();
  }

  choose(i) { this.chosen = i; this.draw(); }

  under(event) {
    const box = this.canvas.getBoundingClientRect(), rows = Math.ceil(this.values.length / this.wide);
    const column = Math.floor(((event.clientX - box.left) / box.width) * this.wide);
    const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
    const i = row * this.wide + column;
    return column >= 0 && column < this.wide && i >= 0 && i < this.values.length ? i : -1;
  }

  move(i, x, y, again) {
    if (i === this.at && !again) return;
    this.at = i;
    this.draw();
    if (i < 0) { hint(""); return; }
    const text = this.describe ? this.describe(i) : num(this.values[i]);
    hint(text, x, y);
    this.canvas.setAttribute("aria-description", text);
    this.pick?.(i);
  }

  key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.wide, ArrowDown: this.wide }[event.key];
    if (!step || !this.values.length) return;
    event.preventDefault();
    const i = Math.min(this.values.length - 1, Math.max(0, (this.at < 0 ? this.chosen : this.at) + step));
    const box = this.canvas.getBoundingClientRect(), shown = box.width / this.wide;
    this.move(i, box.left + ((i % this.wide) + 1) * shown, box.top + (Math.floor(i / this.wide) + 1) * shown);
  }
}

// Pictures of weights, 28 x 28 each, from bytes around 128.
export function tiles(canvas, levels, units, across) {
  const rows = Math.ceil(units / across), width = 29 * across - 1, height = 29 * rows - 1;
  if (!units) return;
  canvas.width = width;
  canvas.height = height;
  const paint = canvas.getContext("2d"), image = paint.createImageData(width, height);
  for (let unit = 0; unit < units; unit++) {
    const left = 29 * (unit % across), top = 29 * Math.floor(unit / across);
    for (let i = 0; i < 784; i++) {
      const at = 4 * ((top + Math.floor(i / 28)) * width + left + (i % 28));
      image.data.set([...colour((levels[784 * unit + i] - 128) / 127), 255], at);
    }
  }
  paint.putImageData(image, 0, 0);
}

const H = 250, L = 52, R = 14, T = 14, B = 38;

// Up to six round numbers from low to high.
function round(low, high, log) {
  const found = [];
  if (log) {
    const parts = Math.log10(high / low) > 2 ? [1] : [1, 2, 5];
    for (let e = -6; e < 12; e++) for (const part of parts) found.push(part * 10 ** e);
  } else {
    const rough = (high - low) / 5, base = 10 ** Math.floor(Math.log10(rough)), step = [1, 2, 5, 10].find((k) => k * base >= rough) * base;
    for (let k = Math.ceil(low / step); k * step <= high * 1.0001; k++) found.push(k * step);
  }
  return found.filter((v) => v >= low * 0.999 && v <= high * 1.001);
}

// Curves of runs, on one pair of axes. Each is {name, x, y, low, high, dots}.
export function chart(curves, { label, log, xLabel, unit = "", whole }) {
  const W = innerWidth < 560 ? 330 : 520;
  const all = curves.flatMap((c) => [...(c.low ?? c.y), ...(c.high ?? c.y), ...(c.dots ?? []).map((d) => d[1])]).filter((v) => Number.isFinite(v) && (!log || v > 0));
  const right = Math.max(1e-9, ...curves.flatMap((c) => [...c.x, ...(c.dots ?? []).map((d) => d[0])]));
  let low = log ? Math.max(1e-4, Math.min(...all)) : 0, high = Math.max(...all, log ? 1 : 0.01);
  if (!all.length) { low = log ? 0.01 : 0; high = log ? 3 : 1; }
  const scale = (v) => (log ? Math.log10(Math.max(v, low)) : v), bottom = scale(low), top = scale(high);
  const px = (x) => L + (x / right) * (W - L - R), py = (y) => H - B - ((scale(y) - bottom) / (top - bottom || 1)) * (H - T - B);
  const at = (x, y) => `${px(x).toFixed(1)},${py(y).toFixed(1)}`;
  let inner = "";
  for (const v of round(low, high, log)) inner += `<line class="axis" x1="${L}" x2="${W - R}" y1="${py(v)}" y2="${py(v)}"/><text x="${L - 8}" y="${py(v) + 4}" text-anchor="end">${unit === "%" ? `${num(100 * v, 2)}%` : num(v, 2)}</text>`;
  const along = round(0, right).filter((v) => !whole || Number.isInteger(v));
  for (const v of along) inner += `<text x="${px(v)}" y="${H - B + 18}" text-anchor="middle">${num(v, 3)}</text>`;
  inner += `<text x="${L + (W - L - R) / 2}" y="${H - 2}" text-anchor="middle">${xLabel}</text>`;
  for (const c of curves) {
    const k = c.name.toLowerCase(), keep = c.x.map((_, i) => i).filter((i) => Number.isFinite(c.y[i]) && (!log || c.y[i] > 0));
    if (c.low && keep.length > 1) inner += `<polygon class="band ${k}" points="${keep.map((i) => at(c.x[i], c.high[i] ?? c.y[i])).join(" ")} ${keep.toReversed().map((i) => at(c.x[i], c.low[i] ?? c.y[i])).join(" ")}"/>`;
    if (keep.length) inner += `<polyline class="${k}" points="${keep.map((i) => at(c.x[i], c.y[i])).join(" ")}"/>`;
    for (const [x, y] of c.dots ?? []) inner += `<circle class="dot ${k}" cx="${px(x)}" cy="${py(y)}" r="4"/>`;
  }
  return `<svg class="chart" viewBox="0 0 ${W} ${H}" role="img" aria-label="${label}">${inner}</svg>`;
}
