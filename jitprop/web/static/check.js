// Check: the gradient check, column by column, and an error to find.

import { ask, el, num } from "./wire.js";
import { Grid } from "./pictures.js";
import { formulas } from "./formulas.js";
import { empty } from "./draw.js";
import { model, on, state } from "./state.js";

const COLUMNS = 24, AT_ONCE = 3, NAMES = { dw: "dE/dW", db: "dE/db", dx: "dE/dx" };

export function build(place) {
  let planted = null, work = 0;
  const what = el("select", { id: "what", "aria-label": "what is checked" }), by = el("select", { id: "by", "aria-label": "by what" });
  const verdict = el("p", { id: "verdict", "aria-live": "polite" }), sum = el("p", { class: "sum" });
  const numeric = new Grid({ label: "J by differences", columns: COLUMNS, cell: 12, describe: (i) => entry(numeric, i) });
  const analytic = new Grid({ label: "J by bprop", columns: COLUMNS, cell: 12, describe: (i) => entry(analytic, i) });
  let found = null;
  const entry = (grid, i) => {
    const column = i % COLUMNS, row = Math.floor(i / COLUMNS);
    return found.columns[column] === undefined || found.numeric[column] === undefined ? "not yet" : `J of output ${row} by entry ${found.columns[column]}\nby differences ${num(found.numeric[column][row], 7)}\nby bprop ${num(found.analytic[column][row], 7)}\nrelative error ${num(found.error[column], 3)}`;
  };

  const base = () => ({ model: state.at, digit: state.digit, target: state.target, ...(planted === null ? {} : { planted }) });
  const places = () => model().checks;

  // Which entries: those where the input is not 0, else nothing passes through them.
  function choose(checked, variable, count) {
    const total = variable.shape.reduce((a, b) => a * b, 1), chosen = new Set(), steps = model().steps;
    const step = checked.step < 0 ? (variable.name === "x" ? null : steps.find((s, k) => variable.name.startsWith(`${s.label}.`))) : steps[checked.step];
    const x = variable.name === "x" ? (checked.step <= 0 ? state.seen.values[0] : null) : step && state.seen.values[step.takes[0]];
    const columns = variable.shape[1] ?? 1, isWeight = variable.shape.length === 2;
    let random = 1;
    for (let tries = 0; chosen.size < Math.min(count, total) && tries < 40000; tries++) {
      random = (random * 48271) % 2147483647;
      const one = random % total, value = x && (variable.name === "x" ? x[one] : isWeight ? x[Math.floor(one / columns)] : 1);
      if (x && tries < 20000 && !value) continue;
      chosen.add(one);
    }
    return [...chosen].sort((a, b) => a - b);
  }

  async function run(draws) {
    const mine = ++work, checked = places()[what.value], variable = checked.by[by.value];
    const columns = choose(checked, variable, COLUMNS);
    found = { columns, numeric: [], analytic: [], error: [] };
    verdict.textContent = "Checking …";
    for (let start = 0; start < columns.length; start += AT_ONCE) {
      const part = columns.slice(start, start + AT_ONCE);
      let told;
      try { told = await ask("check", { ...base(), step: checked.step, by: variable.name, columns: part }); } catch (error) { verdict.textContent = error.message; return; }
      if (mine !== work) return;
      found.numeric.push(...told.numeric); found.analytic.push(...told.analytic); found.error.push(...told.error);
      paint();
      const k = part.length - 1, row = told.numeric[k].reduce((best, v, i, all) => (Math.abs(v) > Math.abs(all[best]) ? i : best), 0);
      sum.textContent = `i = ${part[k]}: ${variable.name === "x" ? "x" : variable.name}ᵢ = ${num(told.at[k])}, hᵢ = ${num(told.h[k], 3)}; of output ${row}: by differences ${num(told.numeric[k][row], 7)}, by bprop ${num(told.analytic[k][row], 7)}`;
    }
    const worst = Math.max(...found.error.map((e) => e ?? Infinity)), ok = worst <= 1e-6;
    verdict.className = ok ? "right" : "wrong";
    verdict.textContent = ok ? `✓ They agree: the largest relative error is ${num(worst, 2)}, 1e−6 is allowed.` : `✗ They differ: the largest relative error is ${num(worst, 2)}, 1e−6 is allowed.`;
  }

  function paint() {
    both.hidden = false;
    const rows = found.numeric[0].length, tall = Math.min(rows, 40);
    const flat = (list) => Array.from({ length: tall * COLUMNS }, (_, i) => list[i % COLUMNS]?.[Math.floor(i / COLUMNS)] ?? 0);
    const largest = Math.max(1e-12, ...found.numeric.flat().filter(Number.isFinite).map(Math.abs));
    numeric.size = analytic.size = 12;
    numeric.show(flat(found.numeric), { largest });
    analytic.show(flat(found.analytic), { largest });
  }

  const table = el("div", { class: "scroll" });
  async function all() {
    const mine = ++work, rows = [], body = el("table", {}, el("tr", {}, ...["what", "by", "largest error", ""].map((text, k) => el("th", { class: k < 2 ? "text" : "", text }))));
    table.replaceChildren(body);
    summary.textContent = "Checking …";
    for (const [a, checked] of places().entries()) {
      for (const [b, variable] of checked.by.entries()) {
        let told;
        try { told = await ask("check", { ...base(), step: checked.step, by: variable.name, columns: choose(checked, variable, 12) }); } catch { return; }
        if (mine !== work) return;
        const worst = Math.max(...told.error.map((e) => e ?? Infinity)), ok = worst <= told.tolerance;
        rows.push(ok);
        body.append(el("tr", {}, el("td", { text: checked.name }), el("td", { class: "text", text: variable.name }), el("td", { text: num(worst, 2) }),
          el("td", {}, el("span", { class: ok ? "right" : "wrong", text: ok ? "✓ agrees " : "✗ differs " }), el("button", { text: "look", "aria-label": `look at ${checked.name} by ${variable.name}`, onclick: () => { what.value = a; fill(); by.value = b; run(); } }))));
      }
    }
    const wrong = rows.filter((ok) => !ok).length;
    summary.textContent = wrong ? `${wrong} of ${rows.length} differ.` : `All ${rows.length} agree.`;
  }

  function fill() {
    const checked = places()[what.value];
    by.replaceChildren(...checked.by.map((v, k) => el("option", { value: k, text: `${v.name}, ${v.shape.join(" × ")}` })));
  }
  what.addEventListener("change", fill);

  const game = el("div");
  function plant() {
    planted = Math.floor(Math.random() * 1e9);
    forget();
    play();
  }
  function play(told) {
    const guesses = model().faults.map(({ step, what: gradient }) => el("button", { text: `${NAMES[gradient]} of ${model().steps[step].text}`, onclick: async () => {
      const answer = await ask("guess", { model: state.at, planted, step, what: gradient });
      play(answer);
    } }));
    game.replaceChildren(...(planted === null
      ? [el("p", { class: "soft", text: "One of the modules gets one of its gradients wrong, in a copy of the network. The check tells where." }), el("button", { id: "plant", text: "Plant an error", onclick: plant, disabled: !guesses.length })]
      : [el("p", { text: "An error is planted. Check all parts, look at those that differ, and say which gradient is wrong:" }), el("div", { class: "row", id: "guesses" }, ...guesses),
        told ? el("p", { class: `notice${told.right ? " good" : ""}`, role: "status", text: told.right ? `Found: ${told.told}.` : "No, that one is right. A module alone tells more than the whole network: there, an error shows only in what it gets wrong itself." }) : null,
        el("p", {}, el("button", { id: "unplant", text: "Take it out", onclick: () => { planted = null; forget(); play(); } }))].filter(Boolean)));
  }

  const FIRST = "Each module and the loss, by 12 entries of all that they have.";
  function forget() {
    both.hidden = true;
    work++;
    found = null;
    table.replaceChildren();
    verdict.textContent = sum.textContent = "";
    numeric.show([]);
    analytic.show([]);
    summary.textContent = FIRST;
  }
  const summary = el("p", { class: "soft", id: "summary", "aria-live": "polite", text: FIRST });

  const both = el("div", { hidden: true },
    el("div", { class: "jacobians" },
      el("div", {}, el("h3", { text: "by differences, a column at a time" }), numeric.element), el("div", {}, el("h3", { text: "by bprop, a row at a time" }), analytic.element)),
    el("p", { class: "hint", text: "Columns are the entries i, rows the outputs j." }));

  const panel = el("div", {},
    el("div", { class: "card" }, el("h2", { text: "Is bprop the derivative of fprop?" }),
      el("p", { class: "soft", text: "Differences of fprop give the Jacobian column by column, bprop gives it row by row. In float64, on a copy of the network, at this drawing." }),
      el("div", { class: "row" }, el("div", { class: "formula", html: formulas.column }), el("div", { class: "formula", html: formulas.row })),
      el("p", { class: "hint", text: "hᵢ = √ε · max(|xᵢ|, 1); the slide has xᵢ without bars, and a large negative one needs a large step, too." }),
      el("div", { class: "row" }, el("label", {}, "J of ", what), el("label", {}, "by ", by), el("button", { class: "main", id: "check", text: "Check 24 columns", onclick: () => run() })),
      both, sum, verdict),
    el("div", { class: "card" }, el("div", { class: "row wide" }, el("h2", { text: "All parts" }), el("button", { id: "all", text: "Check all parts", onclick: all })), summary, table),
    el("div", { class: "card" }, el("h2", { text: "An error to find" }), game));

  function refresh() {
    if (!state.seen) { place.replaceChildren(empty()); return; }
    if (!panel.isConnected) place.replaceChildren(panel);
  }
  on("models", () => {
    planted = null;
    forget();
    what.replaceChildren(...places().map((one, k) => el("option", { value: k, text: one.name })));
    fill(); play(); refresh();
  });
  let digit = null;
  on("seen", () => {
    if (state.digit !== digit) forget(); // that was another drawing
    digit = state.digit;
    refresh();
  });
}
