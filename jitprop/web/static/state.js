// What the parts of the page share: the network, the drawing, and what became of it.

import { ask, latest, toBase64 } from "./wire.js";

export const state = { models: [], at: 0, drawing: null, digit: null, target: null, chosen: false, seen: null, told: null };
const listeners = {};

export const on = (what, call) => (listeners[what] ||= []).push(call);
export const tell = (what) => (listeners[what] || []).forEach((call) => call());
export const model = () => state.models[state.at];

// What gives a value, and how many modules take it.
export const giver = (value) => model().steps.find((step) => step.gives.includes(value))?.text ?? "x";
export const uses = (value) => model().steps.flatMap((step) => step.takes).filter((one) => one === value).length;

// Ask the network about the drawing and, for the digit that it should be, backwards, too.
export const look = latest(async () => {
  const { drawing, digit } = state, asked = { model: state.at, target: state.target };
  if (!state.models.length || !(drawing || digit)) return;
  if (drawing) Object.assign(asked, { drawing: toBase64(drawing.levels), width: drawing.width, height: drawing.height });
  else asked.digit = digit;
  const seen = await ask("see", asked);
  if (drawing !== state.drawing || (!drawing && digit !== state.digit)) return; // another is on its way
  if (drawing) { state.drawing = null; state.digit = toBase64(Uint8Array.from(seen.digit)); }
  const best = seen.probabilities.indexOf(Math.max(...seen.probabilities));
  if (state.target === null || (!state.chosen && state.target !== best)) { // what it says, unless a person says more
    state.target = best;
    look();
    return;
  }
  Object.assign(state, { seen, took: seen.took });
  tell("seen");
});

export function choose(target) {
  Object.assign(state, { target, chosen: true });
  tell("target");
  look();
}

export function show(drawing, label) {
  state.drawing = drawing;
  if (label !== undefined) Object.assign(state, { target: label, chosen: true });
  look();
}

export function forgetChoice() { Object.assign(state, { target: null, chosen: false }); }

export function blank() {
  Object.assign(state, { drawing: null, digit: null, seen: null });
  forgetChoice();
  tell("seen");
}
