// Requests to the server, and what the tabs share.

export const $ = (selector, root = document) => root.querySelector(selector);

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** Ask the server; throws an Error whose message is for people. */
export async function post(name, body, signal) {
  let answer;
  try {
    answer = await fetch(`api/${name}`, {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal,
    });
  } catch (error) {
    if (error.name !== "AbortError") $("#offline").hidden = false;
    throw error;
  }
  $("#offline").hidden = true;
  const found = await answer.json().catch(() => ({ error: `the server answered ${answer.status}` }));
  if (!answer.ok) throw new Error(found.error);
  return found;
}

/** One request at a time; of those asked for meanwhile, the last one follows. */
export class Latest {
  constructor(work, shown = () => {}) {
    Object.assign(this, { work, shown, busy: false, again: false });
  }

  async ask() {
    if (this.busy) { this.again = true; return; }
    this.busy = true;
    this.shown(true);
    try {
      do {
        this.again = false;
        this.control = new AbortController();
        await this.work(this.control.signal);
      } while (this.again);
    } finally {
      this.busy = false;
      this.shown(false);
    }
  }

  cancel() { this.again = false; this.control?.abort(); }
}

export async function base64(blob) {
  const reader = new FileReader();
  await new Promise((done, failed) => {
    reader.onload = done; reader.onerror = () => failed(new Error("this file can't be read"));
    reader.readAsDataURL(blob);
  });
  return reader.result.slice(reader.result.indexOf(",") + 1);
}

/** The file in a data URL. The page may not fetch one. */
export function blobOf(url) {
  const bytes = Uint8Array.from(atob(ofUrl(url)), letter => letter.charCodeAt(0));
  return new Blob([bytes], { type: url.slice(5, url.indexOf(";")) });
}

export const ofUrl = url => url.slice(url.indexOf(",") + 1);

/** Show the state of a panel of class "outcome": busy, an error, or neither. */
export function busy(panel, is) { panel.setAttribute("aria-busy", is); }
export function failed(panel, error) {
  if (error?.name === "AbortError") return;
  $(".error", panel).textContent = error ? error.message : "";
}

/** Buttons of which one is chosen; arrow keys move. Calls changed(value). */
export function choice(group, changed) {
  const all = () => [...group.querySelectorAll("[role=radio]")];
  const choose = (button, told = true) => {
    for (const one of all()) {
      one.setAttribute("aria-checked", one === button);
      one.tabIndex = one === button ? 0 : -1;
    }
    if (told) changed(button.dataset.value ?? button.dataset.how);
  };
  group.addEventListener("click", event => {
    const button = event.target.closest("[role=radio]");
    if (button) choose(button);
  });
  group.addEventListener("keydown", event => {
    const way = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!way || !event.target.matches("[role=radio]")) return;
    event.preventDefault();
    const buttons = all(), next = buttons[(buttons.indexOf(event.target) + way + buttons.length) % buttons.length];
    next.focus(); choose(next);
  });
  return value => choose(all().find(one => (one.dataset.value ?? one.dataset.how) === value), false);
}

/** Show the command and the Python of an answer; either may be empty. */
export function code(root, { shell, python, note = "" }) {
  for (const [part, text] of [[".shell", shell], [".python", python]]) {
    $(part, root).textContent = text;
    $(part, root).parentElement.hidden = !text;
  }
  $(".said", root).textContent = shell ? note : "";
}

/** Copy what stands before a button. */
export async function copy(button) {
  const text = button.previousElementSibling;
  try {
    await navigator.clipboard.writeText(text.textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1200);
  } catch { getSelection().selectAllChildren(text); }
}

/** Fill a group with models. Returns a function that chooses one. */
export function models(group, offered, changed) {
  group.replaceChildren(...offered.map(one => {
    const button = element("button", { type: "button", textContent: one.title, title: one.hint ?? "" });
    button.setAttribute("role", "radio");
    button.dataset.value = one.name;
    return button;
  }));
  return choice(group, changed);
}

/** Let a slider's output follow it. */
export function follow(input, words = value => value) {
  const output = $("output", input.closest("label"));
  const show = () => { output.textContent = words(input.value); };
  input.addEventListener("input", show);
  show();
}

export const random = () => crypto.getRandomValues(new Uint32Array(1))[0] % 1000000;

/** Take the picture that was dropped, pasted or opened. */
export function pictureOf(transfer) {
  return [...(transfer?.files ?? [])].find(file => file.type.startsWith("image/") || /\.(tiff?|heic)$/i.test(file.name));
}
