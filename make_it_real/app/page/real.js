// The tab on which a picture becomes real.
import { $, Latest, blobOf, busy, code, element, failed, follow, models, post, random } from "./api.js";
import { compare } from "./compare.js";
import { Sheet } from "./sheet.js";

// Pictures up to so many pixels are followed; for larger ones the button is waited for.
const LIVE_PIXELS = 1.5e6;
// After a rest of so many milliseconds the way there is shown, too.
const REST = 300;

export class Real {
  constructor(about) {
    this.root = $("#real"); this.about = about;
    this.panel = $(".outcome", this.root);
    this.offered = [{ name: "auto", title: "Auto", hint: "Drawings go to Faces, photographs to Photos." }, ...about.models];
    this.choose = models($(".models", this.root), this.offered, name => { this.own = true; this.model = name; this.hint(); this.soon(); });
    this.sheet = new Sheet($(".card", this.root), kind => this.changed(kind));
    this.sheet.taken = blob => this.take(blob);
    this.latest = new Latest(signal => this.ask(signal), is => this.working(is));
    // An empty sheet asks for a digit, which shows best what f does; a picture for what fits it.
    this.own = about.default !== "auto";
    this.use(this.own ? about.default : "mnist");
    this.controls();
  }

  use(name) { this.model = name; this.choose(name); this.hint(); }

  hint() {
    this.vary();
    $(".hint strong", this.root).textContent = this.offered.find(one => one.name === this.model).hint;
  }

  controls() {
    const steps = $(".steps", this.root);
    follow(steps);
    steps.addEventListener("input", () => this.soon());
    this.seed = 0;
    for (const name of [".noise", ".variants"]) {
      const input = $(name, this.root);
      follow(input);
      input.addEventListener("input", () => { this.vary(); this.soon(); });
    }
    $(".other", this.root).addEventListener("click", () => { this.seed = random(); this.soon(); });
    $(".make", this.root).addEventListener("click", () => this.make());
    $(".cancel", this.root).addEventListener("click", () => this.latest.cancel());
    $(".more", this.root).addEventListener("toggle", () => this.rest());
    $(".again", this.root).addEventListener("click", () => this.take(blobOf(this.url)));
    $(".full", this.root).addEventListener("click", event => {
      const is = this.panel.classList.toggle("full");
      event.target.setAttribute("aria-pressed", is);
    });
  }

  /** Offer noise where the model can use it, and variants where there is noise. */
  vary() {
    const model = this.offered.find(one => one.name === this.model), can = model.name === "auto" || model.size > 0;
    $(".free", this.root).hidden = !can;
    this.noise = can ? +$(".noise", this.root).value : 0;
    for (const one of this.root.querySelectorAll(".variety")) one.hidden = !this.noise;
  }

  /** Put a picture on the sheet, from wherever it came. */
  async take(blob, name) {
    const before = this.model;
    failed(this.panel);
    try {
      if (name) this.use(name);
      else if (!this.own) this.use("auto");
      await this.sheet.load(blob);
    } catch (error) { this.use(before); failed(this.panel, error); }
  }

  changed(kind) {
    if (kind === "blank") { this.clear(); if (!this.own) this.use("mnist"); return; }
    if (kind === "picture") this.clear();
    this.soon();
  }

  clear() {
    this.latest.cancel(); clearTimeout(this.timer);
    this.answer = null; this.panel.dataset.state = "empty"; this.panel.classList.remove("full");
    $(".picture", this.panel).replaceChildren();
    $(".peek", this.root).removeAttribute("src");
    $(".verdict", this.root).textContent = "";
    $(".actions", this.root).hidden = $(".chosen", this.root).hidden = true;
    for (const part of this.root.querySelectorAll(".strip, .notes, pre")) part.replaceChildren();
  }

  /** Ask again, unless that would keep the pen waiting. */
  soon() {
    if (this.sheet.empty) return;
    const live = !this.sheet.file || this.sheet.pixels <= LIVE_PIXELS;
    if (live) this.make(false);
    else $(".verdict", this.root).replaceChildren(element("span", { textContent: "Press the button: this one takes a while." }));
  }

  make(all = true) {
    if (this.sheet.empty) { $(".ink", this.root).focus(); return; }
    this.details = all && $(".more", this.root).open;
    this.latest.ask();
  }

  /** Show the way there once the pen rests. */
  rest() {
    clearTimeout(this.timer);
    const { answer } = this;
    // Where f was not applied, or noise was added, there is no way to show.
    if (!answer || answer.path || answer.noise || answer.reason || !$(".more", this.root).open) return;
    this.timer = setTimeout(() => this.make(), REST);
  }

  working(is) {
    busy(this.panel, is);
    $(".cancel", this.root).hidden = true;
    clearTimeout(this.slow);
    if (is) this.slow = setTimeout(() => { $(".cancel", this.root).hidden = false; }, 700);
  }

  async ask(signal) {
    const { details } = this;
    const before = this.sheet.shown() ?? (this.sheet.file && this.sheet.base.toDataURL("image/png"));
    this.details = false;
    try {
      const answer = await post("real", {
        ...this.sheet.data(), model: this.model, steps: +$(".steps", this.root).value, details,
        noise: this.noise, n: +$(".variants", this.root).value, seed: this.seed,
      }, signal);
      failed(this.panel);
      this.show(answer, before);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.clear(); failed(this.panel, error);
    }
    this.rest();
  }

  show(answer, before) {
    this.answer = answer; this.before = before;
    this.panel.dataset.state = "shown";
    this.put(answer.image);
    $(".full", this.root).hidden = !answer.own_size;
    $(".actions", this.root).hidden = false;
    this.variants(answer);
    this.verdict(answer);
    code(this.root, answer);
    const notes = [...answer.warnings, answer.chosen && `${answer.model} was chosen: ${answer.why}`, ...answer.notes].filter(Boolean);
    $(".notes", this.root).replaceChildren(...notes.map(text => element("li", { textContent: text })));
    if (answer.path) this.way(answer);
    if (answer.noise) for (const part of this.root.querySelectorAll(".strip")) part.replaceChildren();
    $(".way", this.root).hidden = answer.noise || answer.reason;
  }

  /** Put a result, or one of its variants, into the frame. */
  put(url) {
    const { answer, before } = this;
    const picture = $(".picture", this.panel), old = $("img:only-child", picture);
    const made = answer.own_size ? compare(before, url) : old ?? element("img", { alt: "the result" });
    if (!answer.own_size) {
      made.src = url; made.classList.toggle("pixel", answer.size <= 128);
      this.panel.classList.remove("full");
    }
    if (made !== old) picture.replaceChildren(made);
    this.url = url;
    // Where the frame is below the edge of a small screen, its result is seen in the sheet's corner.
    const peek = $(".peek", this.root);
    if (answer.own_size) peek.removeAttribute("src"); else { peek.src = url; peek.classList.toggle("pixel", answer.size <= 128); }
    $(".download", this.root).href = url;
  }

  variants({ variants, size }) {
    const grid = $(".chosen", this.root);
    grid.hidden = variants.length < 2;
    grid.replaceChildren(...(grid.hidden ? [] : variants).map((url, i) => {
      const button = element("button", { type: "button" }, element("img", { src: url, alt: `variant ${i + 1}`, className: size <= 128 ? "pixel" : "" }));
      button.setAttribute("aria-pressed", !i);
      button.addEventListener("click", () => {
        for (const one of grid.children) one.setAttribute("aria-pressed", one === button);
        this.put(url);
      });
      return button;
    }));
  }

  verdict(answer) {
    const share = answer.share * 100, percent = share < 0.1 ? "under 0.1" : share.toFixed(share < 10 ? 1 : 0);
    const it = answer.own_size ? "it" : `what it saw, ${answer.size}×${answer.size} pixels,`;
    let text = answer.changed ? ` ${percent} % of the pixels are new.` : ` f leaves ${it} exactly as it is.`;
    if (answer.reason) text = ` ${answer.reason[0].toUpperCase()}${answer.reason.slice(1)}.`;
    if (answer.reason && answer.chosen) text += " If it shows a digit or clothes, choose that above.";
    const real = answer.realness ? ` What you gave is ${answer.realness}.` : "";
    $(".verdict", this.root).replaceChildren(
      element("strong", { textContent: answer.changed ? "Changed." : "Unchanged." }),
      element("span", { textContent: text + real }));
  }

  way(answer) {
    const small = answer.size && answer.size <= 128;
    const picture = (src, caption) => element("figure", {}, element("img", { src, alt: "", className: small ? "pixel" : "" }),
      element("figcaption", {}, ...caption));
    const moved = value => value ? value.toFixed(value < 0.001 ? 5 : 3) : "nothing";
    const names = ["f", "f²", "f³"];
    $(".path", this.root).replaceChildren(...answer.path.map((one, i) =>
      picture(one.image, [element("b", { textContent: names[i] }), ` moved ${moved(one.moved)}`])));
    $(".heat", this.root).replaceChildren(picture(answer.heat, []));
    $(".seen", this.root).replaceChildren(...(answer.seen ? [picture(answer.seen, [`${answer.size}×${answer.size} pixels`])] : []));
    $(".seen", this.root).parentElement.hidden = !answer.seen;
  }

  /** What other tabs take: the picture on the sheet, if any. */
  data() { return this.sheet.empty ? null : this.sheet.data(); }
}
