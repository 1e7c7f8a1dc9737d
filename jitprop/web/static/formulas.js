// The slides' formulas, as MathML, and the lines of code that compute them.

import { el } from "./wire.js";

const I = (x) => `<mi mathvariant="italic">${x}</mi>`;
const O = (x) => `<mo>${x}</mo>`;
const sub = (x, i) => `<msub>${I(x)}<mrow>${i}</mrow></msub>`;
const dE = (x) => `<mfrac><mrow>${I("d")}${I("E")}</mrow><mrow>${I("d")}${x}</mrow></mfrac>`;
const T = `<msup>${I("W")}${I("T")}</msup>`;
const square = `<msup>${I("y")}<mn>2</mn></msup>`;
const math = (inner) => `<math displaystyle="true">${inner}</math>`;
const slide = (number, inner) => `${math(inner)} <span class="hint">slide ${number}</span>`;

export const formulas = {
  loss: math(`${I("E")}${O("=")}${O("−")}${I("log")}${sub("p", I("t"))}`),
  probabilities: math(`${sub("p", I("j"))}${O("=")}<mfrac><msup>${I("e")}${sub("z", I("j"))}</msup><mrow><munder>${O("∑")}${I("k")}</munder><msup>${I("e")}${sub("z", I("k"))}</msup></mrow></mfrac>`),
  logits: math(`${dE(I("z"))}${O("=")}${I("p")}${O("−")}${I("t")}`),
  ofProbabilities: math(`${dE(sub("p", I("t")))}${O("=")}${O("−")}<mfrac><mn>1</mn>${sub("p", I("t"))}</mfrac>`),
  linear: slide(5, `${I("y")}${O("=")}${T}${O("·")}${I("x")}${O("+")}${I("b")}`),
  dw: slide(5, `${dE(sub("w", I("ij")))}${O("=")}${sub("x", I("i"))}${O("·")}${dE(sub("y", I("j")))}`),
  db: slide(5, `${dE(I("b"))}${O("=")}${dE(I("y"))}`),
  dx: slide(6, `${dE(I("x"))}${O("=")}${dE(I("y"))}${O("·")}${T}`),
  update: slide(7, `${I("W")}${O("=")}${I("W")}${O("−")}${I("rate")}${O("·")}${I("dW")}`),
  column: slide(13, `<msub>${I("J")}<mrow>${O("−")}${O(",")}${I("i")}</mrow></msub>${O("=")}<mfrac><mrow>${I("fprop")}<mo>(</mo>${sub("x", O("+"))}<mo>)</mo>${O("−")}${I("fprop")}<mo>(</mo>${sub("x", O("−"))}<mo>)</mo></mrow><mrow><mn>2</mn>${sub("h", I("i"))}</mrow></mfrac>`),
  row: slide(13, `<msub>${I("J")}<mrow>${I("j")}${O(",")}${O("−")}</mrow></msub>${O("=")}${I("bprop")}<mo>(</mo><mn>0</mn><mo>,</mo><mo>…</mo><mo>,</mo><mn>1</mn><mo>,</mo><mo>…</mo><mo>,</mo><mn>0</mn><mo>)</mo>`),
};

const slope = (inside) => math(`${dE(I("x"))}${O("=")}${dE(I("y"))}${O("·")}${inside}`);
const elementwise = {
  Tanh: [math(`${I("y")}${O("=")}${I("tanh")}<mo>(</mo>${I("x")}<mo>)</mo>`), slope(`<mo>(</mo><mn>1</mn>${O("−")}${square}<mo>)</mo>`), (y) => 1 - y * y, "1 − y²"],
  Sigmoid: [math(`${I("y")}${O("=")}<mfrac><mn>1</mn><mrow><mn>1</mn>${O("+")}<msup>${I("e")}<mrow>${O("−")}${I("x")}</mrow></msup></mrow></mfrac>`), slope(`${I("y")}${O("·")}<mo>(</mo><mn>1</mn>${O("−")}${I("y")}<mo>)</mo>`), (y) => y * (1 - y), "y·(1 − y)"],
  ReLU: [math(`${I("y")}${O("=")}${I("max")}<mo>(</mo>${I("x")}<mo>,</mo><mn>0</mn><mo>)</mo>`), slope(`<mo>[</mo>${I("y")}${O("&gt;")}<mn>0</mn><mo>]</mo>`), (y) => (y > 0 ? 1 : 0), "[y > 0]"],
};

export function forwards(kind) {
  if (kind === "Linear") return formulas.linear;
  if (kind === "Softmax") return formulas.probabilities;
  return elementwise[kind]?.[0] ?? math(`${I("y")}${O("=")}${I("fprop")}<mo>(</mo>${I("x")}<mo>)</mo>`);
}

// Of a function of each element: its formula backwards, its slope as a function of y, and in words.
export function backwards(kind) {
  return elementwise[kind] ? elementwise[kind].slice(1) : [slope(`<mfrac><mrow>${I("d")}${I("y")}</mrow><mrow>${I("d")}${I("x")}</mrow></mfrac>`), null, ""];
}

const isCode = (line) => !line.includes('"""') && !line.includes("def ");

// The line that matters, with the first of the words that is found, and behind it the whole method.
export function code(pieces, ...words) {
  const parts = [], lines = pieces.flatMap((piece) => piece.code.split("\n").filter(isCode));
  const word = words.find((one) => lines.some((line) => line.includes(one)));
  let first = null;
  for (const piece of pieces) {
    const pre = el("pre", { tabindex: 0, "aria-label": `code of ${piece.place}` });
    const start = Number(piece.place.split(":")[1]), file = piece.place.split(":")[0];
    piece.code.split("\n").forEach((line, i) => {
      const marked = word && isCode(line) && line.includes(word);
      if (marked) first ||= { line: line.trim(), place: `${file}:${start + i}` };
      pre.append(marked ? el("mark", { text: line }) : line, "\n");
    });
    parts.push(el("div", { class: "hint", text: piece.place }), pre);
  }
  const shown = first && el("div", { class: "line" }, el("code", { text: first.line }), el("span", { class: "hint", text: first.place }));
  return el("div", { class: "code" }, shown, el("details", {}, el("summary", { text: "the code around it" }), ...parts));
}
