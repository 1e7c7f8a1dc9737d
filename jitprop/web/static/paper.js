// The drawing, what the network says of it, and the digit that it should be.

import { ask, el, fromBase64, percent, say } from "./wire.js";
import { blank, choose, forgetChoice, model, on, show, state } from "./state.js";

const SIDE = 280, SENT = 140, PEN = 22;

export function build(place) {
  const canvas = el("canvas", { id: "canvas", width: SIDE, height: SIDE, tabindex: 0, role: "img",
    "aria-label": "Draw a digit here. With the keyboard: arrow keys move the pen, with Shift they draw." });
  const file = el("input", { type: "file", accept: "image/*", hidden: true, id: "file" });
  const answers = el("fieldset", { class: "answers" });
  place.append(el("div", { class: "card" },
    el("div", { class: "paper-inside" },
      el("div", {},
        canvas),
      el("div", { class: "tools" },
        el("div", { class: "row" },
          el("button", { text: "Clear", id: "clear", onclick: clear }),
          el("button", { text: "An example", id: "example", onclick: example }),
          el("button", { text: "A picture", id: "open", onclick: () => file.click() }), file),
        el("p", { class: "hint", id: "said", text: "Draw a digit, large. Or drop or paste a picture of one." })),
      answers)));

  const paint = canvas.getContext("2d", { willReadFrequently: true });
  let last = null, pen = [SIDE / 2, SIDE / 2], inked = false;

  function wipe() {
    paint.fillStyle = "#fff";
    paint.fillRect(0, 0, SIDE, SIDE);
    inked = false;
  }
  function clear() {
    wipe();
    blank();
    say("");
    canvas.focus({ preventScroll: true });
  }
  function stroke(from, to) {
    paint.strokeStyle = "#111";
    paint.lineWidth = PEN;
    paint.lineCap = paint.lineJoin = "round";
    paint.beginPath();
    paint.moveTo(...from);
    paint.lineTo(to[0] + 0.01, to[1]);
    paint.stroke();
    if (!inked) forgetChoice();
    inked = true;
    send();
  }
  const small = el("canvas", { width: SENT, height: SENT }).getContext("2d", { willReadFrequently: true });
  function send(label) {
    small.imageSmoothingQuality = "high";
    small.drawImage(canvas, 0, 0, SENT, SENT);
    const rgba = small.getImageData(0, 0, SENT, SENT).data, levels = new Uint8Array(SENT * SENT);
    for (let i = 0; i < levels.length; i++) levels[i] = rgba[4 * i];
    show({ levels, width: SENT, height: SENT }, label);
  }
  function where(event) {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * SIDE, ((event.clientY - box.top) / box.height) * SIDE];
  }
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    last = where(event);
    stroke(last, last);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!last) return;
    for (const one of event.getCoalescedEvents?.() ?? [event]) { const next = where(one); stroke(last, next); last = next; }
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { last = null; });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, -10], ArrowDown: [0, 10] }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = pen.map((value, k) => Math.min(SIDE - 15, Math.max(15, value + step[k])));
    if (event.shiftKey) stroke(pen, next);
    pen = next;
  });

  function paste({ width, height, levels, paper = 255, label }) {
    const bytes = fromBase64(levels), image = paint.createImageData(width, height);
    for (let i = 0; i < bytes.length; i++) image.data.set([bytes[i], bytes[i], bytes[i], 255], 4 * i);
    const copy = el("canvas", { width, height });
    copy.getContext("2d").putImageData(image, 0, 0);
    paint.fillStyle = `rgb(${paper} ${paper} ${paper})`;
    paint.fillRect(0, 0, SIDE, SIDE);
    const scale = Math.min(SIDE / width, SIDE / height);
    paint.imageSmoothingEnabled = true;
    paint.drawImage(copy, (SIDE - scale * width) / 2, (SIDE - scale * height) / 2, scale * width, scale * height);
    inked = true;
    forgetChoice();
    send(label);
  }
  async function picture(blob) {
    if (blob) try { paste(await ask("picture", blob)); } catch { /* it was said */ }
  }
  async function example() {
    try { paste(await ask("example")); } catch { /* it was said */ }
  }
  file.addEventListener("change", () => { picture(file.files[0]); file.value = ""; });
  addEventListener("paste", (event) => picture([...event.clipboardData.files][0]));
  for (const kind of ["dragover", "dragleave", "drop"]) {
    addEventListener(kind, (event) => {
      event.preventDefault();
      place.classList.toggle("drop", kind === "dragover");
      if (kind === "drop") picture([...event.dataTransfer.files][0]);
    });
  }
  wipe();

  let rows = [];
  function rebuild() {
    answers.replaceChildren(el("legend", { text: "What the network says. Choose what it should be:" }));
    rows = Array.from({ length: model().classes }, (_, k) => {
      const radio = el("input", { type: "radio", name: "target", value: k, "aria-label": `it should be ${k}`,
        onchange: () => choose(k) });
      const bar = el("span", { class: "bar" }), share = el("span", { class: "share" });
      const row = el("label", { class: "answer" }, radio, el("span", { text: k }), el("span", { class: "track" }, bar), share);
      answers.append(row);
      return { row, radio, bar, share };
    });
    refresh();
  }
  function refresh() {
    const p = state.seen?.probabilities ?? [], best = p.indexOf(Math.max(...p));
    rows.forEach(({ row, radio, bar, share }, k) => {
      bar.style.width = `${100 * (p[k] ?? 0)}%`;
      share.textContent = p.length ? percent(p[k]) : "";
      row.classList.toggle("best", k === best);
      radio.checked = k === state.target;
      radio.disabled = !p.length;
    });
    const taught = state.seen?.taught ?? 0, lessons = taught ? ` It was taught ${taught} ${taught === 1 ? "time" : "times"}.` : "";
    document.getElementById("said").textContent = p.length
      ? `It says ${best}, with ${percent(p[best])}.${lessons}`
      : "Draw a digit, large. Or drop or paste a picture of one.";
  }
  on("models", rebuild);
  on("seen", refresh);
}
