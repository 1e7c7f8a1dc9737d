// The page: its parts are tabs, and share a drawing and a network.

import { ask, el } from "./wire.js";
import { forgetChoice, look, on, state, tell } from "./state.js";
import * as paper from "./paper.js";
import * as draw from "./draw.js";
import * as backwards from "./backwards.js";
import * as teach from "./teach.js";
import * as train from "./train.js";
import * as check from "./check.js";

const names = ["draw", "backwards", "teach", "train", "check"];
const tab = (name) => document.getElementById(`tab-${name}`), panel = (name) => document.getElementById(`panel-${name}`);
let current = "draw";
document.body.dataset.tab = current;

function open(name, focus) {
  current = name;
  for (const one of names) {
    tab(one).setAttribute("aria-selected", one === name);
    tab(one).tabIndex = one === name ? 0 : -1;
    panel(one).hidden = one !== name;
  }
  document.getElementById("paper").hidden = name === "train";
  document.body.dataset.tab = name;
  document.querySelector("main").classList.toggle("alone", name === "train");
  if (focus) tab(name).focus();
  history.replaceState(null, "", `#${name}`);
  tell("open");
}
for (const name of names) {
  tab(name).addEventListener("click", () => open(name));
  tab(name).addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key], at = names.indexOf(name);
    const next = step ? names[(at + step + names.length) % names.length] : { Home: names[0], End: names.at(-1) }[event.key];
    if (next) { event.preventDefault(); open(next, true); }
  });
}

const isOpen = (name) => () => current === name;
paper.build(document.getElementById("paper"));
draw.build(panel("draw"));
backwards.build(panel("backwards"), isOpen("backwards"));
teach.build(panel("teach"));
train.build(panel("train"), isOpen("train"));
check.build(panel("check"));

const select = document.getElementById("model");
select.addEventListener("change", () => {
  state.at = Number(select.value);
  state.seen = null;
  if (!state.chosen || state.target >= state.models[state.at].classes) forgetChoice();
  tell("models");
  look();
});

async function begin() {
  const told = await ask("models");
  Object.assign(state, { models: told.models, told });
  select.replaceChildren(...told.models.map((one, k) => el("option", { value: k, text: one.name })));
  select.disabled = false;
  tell("models");
  if (names.includes(location.hash.slice(1))) open(location.hash.slice(1));
  if (state.drawing) look();
  document.documentElement.dataset.ready = "yes";
}
on("seen", () => { document.documentElement.dataset.seen = state.seen ? String(Number(document.documentElement.dataset.seen || 0) + 1) : ""; });
begin();
