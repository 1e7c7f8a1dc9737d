// Teach it: an update on this drawing, what it does to the rest, and how to forget.

import { ask, el, num, percent } from "./wire.js";
import { chart } from "./pictures.js";
import { code, formulas } from "./formulas.js";
import { empty } from "./draw.js";
import { look, model, on, state, tell } from "./state.js";

export function build(place) {
  let lessons = [], last = null;
  const rate = el("input", { type: "range", min: -3, max: 3, step: 0.25, value: -2, id: "rate", "aria-label": "rate" });
  const shown = el("output", { class: "big", for: "rate" });
  const value = () => Number((10 ** Number(rate.value)).toPrecision(2));
  rate.addEventListener("input", () => { shown.textContent = num(value()); });
  shown.textContent = num(value());
  const results = el("div", { "aria-live": "polite" }), curve = el("div");

  async function teach(times) {
    const asked = { model: state.at, digit: state.digit, target: state.target, rate: value(), times };
    try { last = await ask("teach", asked); } catch { return; }
    if (!lessons.length) lessons.push(last.before);
    lessons.push({ ...last.after, taught: last.taught });
    state.seen.taught = last.taught;
    refresh();
    look();
  }
  async function forget() {
    try { await ask("forget", { model: state.at }); } catch { return; }
    lessons = []; last = null;
    if (state.seen) state.seen.taught = 0;
    refresh();
    look();
  }

  const lines = el("div", { class: "code" });
  const controls = el("div", { class: "card" },
    el("div", { class: "row wide" }, el("h2", { text: "Teach it this drawing" }), el("div", { class: "formula", html: formulas.update })),
    el("p", { class: "soft", id: "lesson" }),
    el("div", { class: "row" }, el("label", { class: "hint", for: "rate", text: "rate" }), shown),
    rate,
    el("div", { class: "row wide hint" }, el("span", { text: "0.001: hardly moves" }), el("span", { text: "1000: breaks" })),
    el("div", { class: "row" },
      el("button", { class: "main", id: "teach", text: "update(rate)", onclick: () => teach(1) }),
      el("button", { id: "teach10", text: "10 times", onclick: () => teach(10) }),
      el("button", { id: "forget", text: "Forget", onclick: forget })),
    lines);

  function refresh() {
    if (!state.seen) { place.replaceChildren(empty()); return; }
    if (!controls.isConnected) place.replaceChildren(controls, results, curve);
    const { steps } = model();
    lines.replaceChildren(code(steps[0].code.update, "sgd_update"));
    document.getElementById("lesson").textContent = `One step of gradient descent, so that it says ${state.target} here. The other digits are not part of the lesson.`;
    if (!last) { results.replaceChildren(); curve.replaceChildren(); return; }
    results.replaceChildren(card());
    const x = lessons.map((_, i) => i);
    curve.replaceChildren(el("div", { class: "card" }, el("h2", { text: "The loss of this drawing, lesson by lesson" }),
      el("div", { class: "small", html: chart([{ name: "A", x, y: lessons.map((l) => l.loss), dots: lessons.map((l, i) => [i, l.loss]).filter((d) => d[1] > 0) }], { label: "The loss of this drawing after each lesson", log: true, xLabel: "lessons", whole: true }) })));
  }

  function card() {
    const { before, after, judged } = last, broke = after.loss === null || (judged && after.errors > judged / 2);
    const fact = (name, a, b) => el("div", { class: "fact" }, el("small", { text: name }), el("span", { class: "big", text: `${a} → ${b}` }));
    const target = state.target;
    const pairs = el("div", { class: "pairs" }, ...before.probabilities.map((p, k) => {
      const now = after.probabilities[k], one = el("span", { class: "before" }), two = el("span", { class: "after" });
      one.style.width = `${100 * (p ?? 0)}%`;
      two.style.width = `${100 * (now ?? 0)}%`;
      return el("div", { class: `pair${k === target ? " target" : ""}` }, el("span", { text: k }), el("span", { class: "track" }, one, two), el("span", { text: `${percent(p)} → ${percent(now)}` }));
    }));
    let notice = null;
    if (broke) notice = el("p", { class: "notice", text: after.loss === null
      ? "It broke: the numbers are not finite any more. The step was so long that they left what float32 can hold. Forget restores the weights."
      : `It broke: it now takes ${after.errors} of ${judged} test images for another digit. The step went far beyond the point that the gradient was computed at. Forget restores the weights.` });
    else if (after.loss > before.loss) notice = el("p", { class: "notice", text: "The loss became larger: the step was too long." });
    return el("div", { class: "card" }, el("div", { class: "row wide" }, el("h2", { text: "Before and after" }), el("span", { class: "hint" }, el("i", { class: "swatch before" }), "before", el("i", { class: "swatch after" }), "after")),
      el("div", { class: "facts" },
        fact(`probability of ${target}`, percent(before.probabilities[target]), percent(after.probabilities[target])),
        fact("loss of this drawing", num(before.loss, 3), num(after.loss, 3)),
        judged ? fact(`errors on ${judged} test images`, before.errors, after.errors) : null), notice, pairs);
  }

  on("models", () => { lessons = []; last = null; refresh(); });
  let digit = null;
  on("seen", () => {
    if (state.digit !== digit) { last = null; lessons = []; } // of another drawing
    digit = state.digit;
    refresh();
  });
  on("target", () => { last = null; lessons = []; });
}
