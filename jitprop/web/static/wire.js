// Requests to the server, and how numbers and bytes are written.

const box = document.getElementById("messages");

export function say(text) {
  box.textContent = text || "";
  box.hidden = !text;
}

export async function ask(path, body, quietly) {
  const isFile = body instanceof Blob;
  const how = body === undefined ? {} : { method: "POST", body: isFile ? body : JSON.stringify(body) };
  const slow = quietly ? 0 : setTimeout(() => say("One moment. The first time, kernels are compiled for this processor."), 1500);
  let answer;
  try {
    answer = await fetch(`api/${path}`, how);
  } catch {
    say("The page's server does not answer. Start `jitprop serve` again, and open the address that it prints.");
    throw new Error("no answer");
  } finally {
    clearTimeout(slow);
  }
  const found = await answer.json();
  if (!answer.ok) {
    if (!quietly) say(found.error);
    throw new Error(found.error);
  }
  say("");
  found.took = Number(answer.headers.get("server-timing")?.split("dur=")[1]);
  return found;
}

export function toBase64(bytes) {
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(text);
}

export const fromBase64 = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

// A number as a person reads it: four digits, a real minus.
export function num(value, digits = 4) {
  if (value === null || value === undefined) return "not finite";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size < 1e-4 || size >= 1e6 ? value.toExponential(digits - 2) : String(Number(value.toPrecision(digits)));
  return text.replace("e-", "e−").replace(/^-/, "−");
}

export const percent = (p) => (p === null ? "–" : p > 0 && p < 0.0005 ? "<0.1%" : `${(100 * p).toFixed(1)}%`);

export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "text") made.textContent = value;
    else if (key === "html") made.innerHTML = value; // formulas of this page alone
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

// One call at a time; of those that wait, the last alone.
export function latest(work) {
  let running = false, waiting = null;
  return async function call(...given) {
    if (running) { waiting = given; return; }
    running = true;
    try { await work(...given); } catch { /* it was said */ }
    running = false;
    if (waiting) { const next = waiting; waiting = null; call(...next); }
  };
}
