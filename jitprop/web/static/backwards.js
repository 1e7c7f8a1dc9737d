// Backwards: the gradients, from the loss to the drawing, each beside its formula and its line.

import { ask, el, latest, num } from "./wire.js";
import { Grid } from "./pictures.js";
import { backwards, code, formulas } from "./formulas.js";
import { empty, written } from "./draw.js";
import { model, on, state, uses } from "./state.js";

export function build(place, isOpen) {
  let redraw = [], built = null;

  function rebuild() {
    redraw = [];
    if (!state.seen?.gradients) { place.replaceChildren(empty()); return; }
    const flow = el("div", { class: "flow back" }, loss());
    place.replaceChildren(drawing(), flow);
    const { steps } = model();
    for (let at = steps.length - 1; at >= 0; at--) flow.append(steps[at].kind === "Linear" ? linear(steps[at], at) : other(steps[at]));
    refresh();
  }

  // The end of the way back, first: what one came for.
  function drawing() {
    const said = el("p"), value = (i) => seen().gradients[0][i];
    const picture = new Grid({ label: "dE/dx, on the drawing", cell: 9, describe: (i) => `row ${Math.floor(i / 28)}, column ${i % 28}\ndE/dx = ${num(value(i))}\nmore ink here makes E ${value(i) > 0 ? "larger" : "smaller"}` });
    redraw.push(() => {
      picture.show(seen().gradients[0], { overlay: seen().values[0] });
      said.textContent = `E says how far the answer is from ${state.target}. Blue: more ink there makes E smaller, and the drawing more like ${state.target}. Orange: more ink makes it larger. The line goes around the ink.`;
    });
    return el("div", { class: "card" }, el("div", { class: "row wide" }, el("h2", { text: "dE/dx: where ink would help" })),
      el("div", { class: "columns" }, picture.element, el("div", { class: "beside" }, said,
        el("p", { class: "soft", text: "Choose another digit beside the drawing, and look again. Below is how these numbers come about: from the loss back to the drawing, module by module, each gradient with the slides' formula and the line that computes it." }))));
  }

  const seen = () => state.seen;

  function loss() {
    const { loss: criterion, steps } = model(), last = steps.at(-1).gives[0], onLogits = criterion.kind === "SoftmaxCrossEntropy";
    const value = el("span", { class: "big", id: "loss" });
    const grid = new Grid({ label: "dE/dz, one number for each class", describe: (j) => {
      const p = seen().probabilities[j], t = j === state.target ? 1 : 0;
      return onLogits ? `dE/dz of ${j} = p − t = ${num(p)} − ${t} = ${num(seen().gradients[last][j])}` : `dE/dp of ${j} = ${num(seen().gradients[last][j])}`;
    } });
    redraw.push(() => { value.textContent = `E = ${num(seen().loss)}`; grid.show(seen().gradients[last]); });
    return el("div", { class: "card" },
      el("div", { class: "row wide" }, el("h2", { text: criterion.text }), value),
      el("p", { class: "soft", text: "The loss says how far the answer is from the digit that it should be; choose that beside the drawing. Its gradient is where the way back begins. The batch is this one drawing, so 1/batchSize is 1." }),
      el("div", { class: "gradient" },
        el("div", {}, el("div", { class: "row" }, el("div", { class: "formula", html: formulas.loss }), el("div", { class: "formula", html: onLogits ? formulas.logits : formulas.ofProbabilities })),
          code(criterion.code.bprop, onLogits ? "p - 1" : "cross_entropy_bprop")), grid.element));
  }

  // What it is, a formula with its code, and the numbers that it gives.
  const row = (name, formula, pieces, words, picture, ...more) => el("div", { class: "gradient" },
    el("div", {}, el("h3", { text: name }), el("div", { class: "formula", html: formula }), code(pieces, ...words), ...more), picture);

  function linear(step, at) {
    const x = step.takes[0], y = step.gives[0], sum = el("p", { class: "sum" }), of = el("p", { class: "sum" });
    let unit = null, weights = null;
    const choose = latest(async (j) => {
      unit = j;
      db.choose(j);
      weights = await ask("weights", { model: state.at, digit: state.digit, target: state.target, step: at, unit: j });
      of.textContent = `unit j = ${j}: dE/dy = ${num(weights.dy)}`;
      dw.show(weights.dw);
    });
    const dw = new Grid({ label: "dE/dW of the chosen unit", describe: (i) => `x · dE/dy = ${num(seen().values[x][i])} · ${num(weights.dy)}\ndE/dw = ${num(weights.dw[i])}` });
    const db = new Grid({ label: `dE/db of ${step.text}; the arrow keys choose a unit`, pick: choose, describe: (j) => `unit ${j}: dE/db = dE/dy = ${num(seen().gradients[y][j])}` });
    const entry = latest(async (i) => {
      const found = await ask("weights", { model: state.at, digit: state.digit, target: state.target, step: at, entry: i });
      const parts = found.dy.map((dy, j) => [dy, found.w[j]]), own = parts.reduce((all, [a, b]) => all + a * b, 0);
      const rest = uses(x) > 1 ? `; with what comes back from other modules ${num(found.dx)}` : "";
      sum.textContent = `dE/dx${x ? "" : " of the pixel"} ${i} = ${written(parts)} + … = ${num(uses(x) > 1 ? own : found.dx)}${rest}`;
    });
    const overlay = () => (x === 0 ? { overlay: seen().values[0] } : {});
    const dx = new Grid({ label: x === 0 ? "dE/dx, on the drawing" : "dE/dx", pick: entry, cell: x === 0 && seen().values[0].length === 784 ? 9 : undefined,
      describe: (i) => `dE/dx of ${i} = ${num(seen().gradients[x][i])}` + (x === 0 ? `\nmore ink here makes E ${seen().gradients[x][i] > 0 ? "larger" : "smaller"}` : "") });
    redraw.push(() => {
      const gradients = seen().gradients;
      db.show(gradients[y]);
      dx.show(gradients[x], overlay());
      sum.textContent = "";
      const largest = gradients[y].reduce((best, v, j, all) => (Math.abs(v) > Math.abs(all[best]) ? j : best), 0);
      choose(unit ?? largest);
    });
    const several = uses(x) > 1 ? el("p", { class: "hint", text: `${uses(x)} modules take this x, and their gradients add up: the picture is the sum.` }) : null;
    const more = x === 0 ? el("p", { class: "hint", text: "The line goes around the ink. Orange: more ink there makes the loss larger. Blue: it makes it smaller." }) : null;
    return el("div", { class: "card" }, el("h2", { text: step.text }),
      row("The biases' gradients", formulas.db, step.code.bprop, ["bias_bprop"], db.element, el("p", { class: "hint", text: "Point at a unit: it is the j of the next formula." })),
      row("The gradients of the weights that lead to a unit", formulas.dw, step.code.bprop, ["kernels.matmul_tn"], dw.element, of),
      row(x === 0 ? "dE/dx, on the drawing" : "dE/dh: x is what the hidden layer gave", formulas.dx, step.code.bprop, ["matmul_nt"], dx.element, several, more, sum));
  }

  function other(step) {
    const y = step.gives[0], [formula, slope, words] = backwards(step.kind);
    const grids = el("div");
    for (const x of step.takes) grids.append(one(step, x, y, slope, words));
    return el("div", { class: "card" }, el("h2", { text: step.text }),
      row("Through the function, to what it was given", formula, step.code.bprop, ["fma(-y, y", "store(out, i", "self.backwards(", "kernels."], grids,
        step.takes.some((x) => uses(x) > 1) ? el("p", { class: "hint", text: "Other modules take the same x: the picture is the sum of what comes back." }) : null));
  }

  function one(step, x, y, slope, words) {
    const grid = new Grid({ label: `dE/dx of ${step.text}`, describe: (i) => {
      const dy = seen().gradients[y][i], dx = seen().gradients[x][i], out = seen().values[y][i];
      return slope ? `unit ${i}: y = ${num(out)}\ndE/dy · (${words}) = ${num(dy)} · ${num(slope(out))}\ndE/dx = ${num(dx)}` : `unit ${i}: dE/dx = ${num(dx)}`;
    } });
    redraw.push(() => seen().gradients[x] && grid.show(seen().gradients[x]));
    return grid.element;
  }

  function refresh() { if (isOpen()) redraw.forEach((draw) => draw()); }
  const changed = () => {
    const now = state.seen?.gradients ? state.at : null;
    if (now !== built || !redraw.length) { built = now; if (isOpen() || now === null) rebuild(); else built = undefined; } else refresh();
  };
  on("models", () => { built = undefined; changed(); });
  on("seen", changed);
  on("open", changed);
}
