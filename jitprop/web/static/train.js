// Train: two runs side by side, drawn while they learn.

import { ask, el, fromBase64, num } from "./wire.js";
import { chart, tiles } from "./pictures.js";
import { on, state } from "./state.js";

const FIRST = { A: { batch: "100", rate: 0.1 }, B: { batch: "1", rate: 0.01 } };
const KINDS = { 1: "stochastic", 100: "mini-batch", full: "batch" };

export function build(place, isOpen) {
  const runs = { A: null, B: null }, parts = {};
  const charts = el("div", { class: "charts" });
  const field = (text, input) => el("label", {}, text, input);
  const select = (id, options, value) => el("select", { id }, ...options.map(([v, text]) => el("option", { value: v, text, selected: v === value })));

  function column(name) {
    const id = (what) => `${name}-${what}`;
    const batch = el("fieldset", { class: "choice" }, el("legend", { text: "batch size" }), ...Object.entries(KINDS).sort((a, b) => (a[0] === "full") - (b[0] === "full")).map(([size, text]) =>
      el("label", {}, el("input", { type: "radio", name: id("batch"), value: size, checked: size === FIRST[name].batch }), `${size} (${text})`)));
    const inputs = {
      hidden: select(id("hidden"), [["", "784-10, linear"], ["200", "784-200-10"], ["800", "784-800-10"], ["100,50", "784-100-50-10"]], "200"),
      activation: select(id("activation"), [["tanh", "tanh"], ["relu", "relu"], ["sigmoid", "sigmoid"]], "tanh"),
      rate: el("input", { id: id("rate"), type: "number", min: 0, step: "any", value: FIRST[name].rate }),
      momentum: el("input", { id: id("momentum"), type: "number", min: 0, max: 0.99, step: "any", value: 0 }),
      optimizer: select(id("optimizer"), [["sgd", "sgd"], ["adam", "adam"], ["adamw", "adamw"]], "sgd"),
      epochs: el("input", { id: id("epochs"), type: "number", min: 1, max: 1000, value: 5 }),
      images: el("input", { id: id("images"), type: "number", min: 1, max: 60000, value: 60000 }),
      seed: el("input", { id: id("seed"), type: "number", min: 0, value: 0 }),
      pause: select(id("pause"), [["0.2", "slow, to watch"], ["0.05", "quick"], ["0", "as fast as it can"]], "0.2"),
    };
    const words = { hidden: "network", activation: "function", rate: "rate", momentum: "momentum", optimizer: "optimizer", epochs: "epochs", images: "images", seed: "seed", pause: "speed" };
    inputs.optimizer.addEventListener("change", () => {
      inputs.momentum.disabled = inputs.optimizer.value !== "sgd";
      if (inputs.momentum.disabled) { inputs.momentum.value = 0; inputs.rate.value = 0.001; }
    });
    const part = parts[name] = {
      inputs, batch,
      start: el("button", { class: "main", id: id("start"), text: "Start", onclick: () => begin(name) }),
      stop: el("button", { id: id("stop"), text: "Stop", disabled: true, onclick: () => turn(name) }),
      line: el("p", { class: "soft", id: id("line"), "aria-live": "off", text: "Not started." }),
      canvas: el("canvas", { class: "weights", role: "img", "aria-label": `Weights of the first units of run ${name}` }),
      about: el("p", { class: "hint" }), table: el("div", { class: "scroll" }),
    };
    return el("div", { class: "card" },
      el("h2", {}, el("span", { class: `key ${name.toLowerCase()}` }), `Run ${name}`), batch,
      el("div", { class: "settings" }, ...Object.entries(inputs).map(([what, input]) => field(words[what], input))),
      el("div", { class: "row" }, part.start, part.stop), part.line, part.canvas, part.about, part.table);
  }

  function asked(name) {
    const { inputs, batch } = parts[name], size = batch.querySelector(":checked").value;
    const number = (what) => (inputs[what].value === "" ? null : Number(inputs[what].value));
    return {
      hidden: inputs.hidden.value ? inputs.hidden.value.split(",").map(Number) : [],
      activation: inputs.activation.value, optimizer: inputs.optimizer.value,
      batch_size: size === "full" ? null : Number(size), rate: number("rate"), momentum: number("momentum"),
      epochs: number("epochs"), images: number("images"), seed: number("seed"), pause: number("pause"),
    };
  }
  async function begin(name) {
    parts[name].line.textContent = "Starting: the first time, kernels are compiled for this processor.";
    try { show(name, await ask(`runs/${name}/start`, asked(name))); } catch (error) { parts[name].line.textContent = error.message; }
  }
  async function turn(name) {
    const how = runs[name].state === "running" ? "stop" : "go";
    try { show(name, await ask(`runs/${name}/${how}`, { pause: Number(parts[name].inputs.pause.value) })); } catch { /* it was said */ }
  }

  function show(name, told) {
    const part = parts[name];
    runs[name] = told;
    const { state: stands, why, epoch, batch, batches, epochs, asked: how } = told, running = stands === "running";
    part.start.disabled = running;
    part.start.textContent = "Start anew";
    part.stop.disabled = !(running || stands === "stopped");
    part.stop.textContent = running ? "Stop" : "Go on";
    const last = epochs.at(-1), found = last ? ` ${last.test_errors} errors on 10,000 test images.` : "";
    const at = `epoch ${Math.min(epoch, how.epochs)} of ${how.epochs}` + (batch ? `, batch ${batch} of ${batches}` : "");
    part.line.textContent = { running: `Training: ${at}.${found}`, stopped: `Stopped${why ? ` (${why})` : ""} in ${at}.${found}`, done: `Done: ${how.epochs} epochs.${found}`, failed: `It broke: ${why}.` }[stands];
    part.line.classList.toggle("wrong", stands === "failed");
    const { units, largest, levels } = told.weights;
    tiles(part.canvas, fromBase64(levels), units, 6);
    part.about.textContent = units ? `The weights that lead to ${units === 10 ? "the ten digits" : `the first ${units} units`}, from −${num(largest, 2)} (blue) to ${num(largest, 2)} (orange).` : "";
    part.table.replaceChildren(epochs.length ? el("table", {},
      el("tr", {}, ...["epoch", "train loss", "train errors", "test errors"].map((text) => el("th", { text }))),
      ...epochs.toReversed().map((e) => el("tr", {}, ...[e.epoch, num(e.train_loss, 3), `${(100 * e.train_errors / how.images).toFixed(2)}%`, `${(e.test_errors / 100).toFixed(2)}%`].map((text) => el("td", { text }))))) : "");
    draw();
  }

  function curves(what) {
    return Object.entries(runs).filter(([, run]) => run).map(([name, { curve, batches, epochs }]) => {
      const x = curve.loss.map((_, i) => ((i + 0.5) * curve.width) / batches);
      const dots = epochs.map((e) => [e.epoch, what === "loss" ? e.test_loss : e.test_errors / 10000]);
      return what === "loss" ? { name, x, y: curve.loss, low: curve.low, high: curve.high, dots } : { name, x, y: curve.errors, dots };
    });
  }
  function draw() {
    const card = (title, note, how, what) => el("div", { class: "card" }, el("div", { class: "row wide" }, el("h2", { text: title }), el("span", { class: "hint" }, el("span", { class: "key a" }), "A   ", el("span", { class: "key b" }), "B")), el("div", { html: chart(curves(what), how) }), el("p", { class: "hint", text: note }));
    const widths = Object.entries(runs).filter(([, run]) => run).map(([name, run]) => `${name}: ${run.curve.width === 1 ? "a point for each batch" : `a point for ${run.curve.width} batches`}`);
    charts.replaceChildren(
      card("Loss of each batch", (widths.length && `${widths.join("; ")}. The line is the mean, the band goes from the lowest to the highest.`) || "A is the solid line, B the dashed one. Dots are the test set after an epoch.", { label: "The loss of each batch, of both runs", log: true, xLabel: "epochs" }, "loss"),
      card("Errors", "Lines: errors on the batches. Dots: on the test set after each epoch.", { label: "The errors of each batch, of both runs", xLabel: "epochs", unit: "%" }, "errors"));
  }

  place.append(
    el("div", { class: "card" }, el("div", { class: "row wide" },
      el("div", {}, el("h2", { text: "Stochastic, mini-batch or batch learning?" }),
        el("p", { class: "soft", text: "Two runs of the very loop that train.py runs, on MNIST. Change one thing between them, and compare. Stochastic learning takes a noisy step for each image; batch learning a single step for all 60,000." })),
      el("button", { class: "main", id: "both", text: "Start both", onclick: () => Promise.all(["A", "B"].map(begin)) }))),
    charts, el("div", { class: "runs" }, column("A"), column("B")));
  draw();

  let polling = false;
  async function poll() {
    if (polling) return;
    polling = true;
    for (const name of ["A", "B"]) {
      if (runs[name]?.state === "running") try { show(name, await ask(`runs/${name}`, undefined, true)); } catch { /* the next time */ }
    }
    polling = false;
  }
  setInterval(poll, 300);
  on("models", async () => { // a run that an earlier tab has left
    for (const name of state.told.runs) if (!runs[name]) show(name, await ask(`runs/${name}`));
  });
  on("open", () => { if (isOpen()) draw(); });
}
