// Draw: what the network sees, and what each of its layers makes of it.

import { ask, el, latest, num } from "./wire.js";
import { Grid } from "./pictures.js";
import { code, formulas, forwards } from "./formulas.js";
import { giver, model, on, state } from "./state.js";

const terms = (parts, count = 4) => parts.map(([a, b]) => [a * b, a, b]).sort((a, b) => Math.abs(b[0]) - Math.abs(a[0])).slice(0, count);
export const written = (parts) => terms(parts).map(([, a, b]) => `${num(a, 3)}·${num(b, 3)}`).join(" + ");

export const empty = () => el("div", { class: "card" }, el("h2", { text: "Nothing to see yet" }),
  el("p", { class: "soft", text: "Draw a digit on the paper, or take an example. All that the network computes for it will stand here." }));

export function build(place) {
  let grids = [], details = [];

  function rebuild() {
    if (!state.seen) { grids = []; place.replaceChildren(empty()); return; }
    const { steps, classes } = model();
    const x = new Grid({ label: "What the network sees, 28 by 28 pixels", kind: "grey", cell: 8, describe: (i) => `row ${Math.floor(i / 28)}, column ${i % 28}\nx = ${num(state.seen.values[0][i])}` });
    const flow = el("div", { class: "flow" }, el("div", { class: "card" },
      el("div", { class: "row wide" }, el("h2", { text: "x: what the network sees" }), el("span", { class: "hint", id: "took" })),
      el("div", { class: "columns" }, x.element, el("div", { class: "beside" },
        el("p", { class: "soft", text: "As MNIST's makers did, the digit is cut out, scaled to 20 × 20 pixels, and moved so that its centre of mass is in the middle of 28 × 28. Each grey level is divided by 255." }),
        el("p", { class: "soft", text: "Below, each module takes what the one above gives. Point at any cell to read its number; with the keyboard, the arrow keys move from cell to cell." })))));
    grids = [[x, 0]];
    details = [];
    steps.forEach((step, at) => flow.append(layer(step, at)));
    const p = new Grid({ label: "The probabilities", kind: "grey", describe: (i) => `p of ${i} = ${num(state.seen.probabilities[i])}` });
    grids.push([p, "p"]);
    flow.append(el("div", { class: "card" }, el("h2", { text: `p: the probabilities of the ${classes} classes` }),
      el("div", { class: "formula", html: formulas.probabilities }), p.element));
    place.replaceChildren(flow);
    refresh();
  }

  function layer(step, at) {
    const value = step.gives[0], chain = step.takes.length === 1 && step.takes[0] === value - 1;
    const detail = el("div", { class: "detail" });
    const describe = (i) => `unit ${i}: y = ${num(state.seen.values[value][i])}` + (step.kind === "Linear" ? "" : step.takes.map((from) => `\nfrom ${num(state.seen.values[from][i])}`).join(""));
    const pick = step.kind === "Linear" ? latest((i) => { grid.choose(i); return unit(step, at, i, detail); }) : undefined;
    const grid = new Grid({ label: `What ${step.text} gives; the arrow keys choose a unit`, describe, pick });
    grids.push([grid, value]);
    if (pick) details.push(() => grid.chosen >= 0 && pick(grid.chosen));
    const hint = step.kind === "Linear" ? "Point at a unit, to see the weights that lead to it." : "Point at a unit, to see its number.";
    return el("div", { class: "card" },
      el("div", { class: "row wide" }, el("h2", { text: step.text }), el("div", { class: "formula", html: forwards(step.kind) })),
      chain ? null : el("p", { class: "hint", text: `It takes ${step.takes.map((from) => (from ? `what ${giver(from)} gives` : "x")).join(" and ")}.` }),
      el("div", { class: "columns" }, el("div", {}, grid.element, el("p", { class: "hint", text: hint })), detail),
      code(step.code.fprop, "linear_fprop", "store(out, i", "self.forwards(", "kernels."));
  }

  async function unit(step, at, i, detail) {
    const found = await ask("weights", { model: state.at, digit: state.digit, step: at, unit: i });
    const picture = new Grid({ label: `The weights that lead to unit ${i}`, cell: found.w.length === 784 ? 6 : undefined, describe: (k) => `w = ${num(found.w[k])}, x = ${num(found.x[k])}\nw·x = ${num(found.w[k] * found.x[k])}` });
    picture.show(found.w);
    const parts = found.w.map((w, k) => [w, found.x[k]]), sum = found.y - found.b;
    detail.replaceChildren(el("h3", { text: `Unit ${i}: its weights` }), picture.element,
      el("p", { class: "sum", html: `w·x + b = ${written(parts)} + … + b<br>= ${num(sum)} + (${num(found.b)}) = <b class="${found.y < 0 ? "minus" : "plus"}">${num(found.y)}</b>` }));
  }

  function refresh() {
    if (!state.seen) return;
    document.getElementById("took").textContent = state.took ? `the server took ${num(state.took, 2)} ms` : "";
    for (const [grid, value] of grids) {
      if (value === "p") grid.show(state.seen.probabilities, { largest: 1 });
      else grid.show(state.seen.values[value], value === 0 ? { largest: 1 } : {});
    }
    details.forEach((again) => again()); // the numbers of the chosen units, for this drawing
  }
  let built = null;
  on("models", rebuild);
  on("seen", () => { const now = state.seen ? state.at : null; if (now !== built || !grids.length) { built = now; rebuild(); } else refresh(); });
}
