// The tab of damage and repair.
import { $, Latest, base64, code, element, failed, models, post, random } from "./api.js";

const NAMES = ["x", "A(x)", "f(A(x))", "f(f(A(x)))"];
const WORDS = ["as it was", "damaged", "made real", "once more"];

export class Damage {
  /** picture(): what is on the sheet, or null. */
  constructor(about, picture) {
    this.root = $("#damage"); this.models = about.models;
    this.choose = models($(".models", this.root), about.models, name => { this.model = name; this.source(); this.latest.ask(); });
    this.model = about.default === "auto" ? "faces" : about.default;
    this.choose(this.model);
    this.kinds = about.damage;
    this.otherwise = 0;
    this.latest = new Latest(signal => this.ask(signal), is => this.root.setAttribute("aria-busy", is));
    const kind = $(".kind", this.root);
    kind.append(...this.kinds.map(one => element("option", { value: one.name, textContent: one.name })));
    kind.value = "noise";
    kind.addEventListener("change", () => { this.level(); this.latest.ask(); });
    $(".level", this.root).addEventListener("input", () => { this.words(); this.latest.ask(); });
    $(".seed", this.root).addEventListener("change", () => this.latest.ask());
    $(".dice", this.root).addEventListener("click", () => { this.otherwise = random(); this.latest.ask(); });
    $(".open", this.root).addEventListener("change", async event => this.use({ picture: await base64(event.target.files[0]) }));
    $(".sheet-picture", this.root).addEventListener("click", () => {
      const found = picture();
      if (found) this.use(found); else failed(this.root, new Error("the sheet is empty: draw on it, or open a picture"));
    });
    $(".drop-picture", this.root).addEventListener("click", () => this.use(null));
    $(".figure", this.root).append(...NAMES.map((name, i) => element("figure", {},
      element("img", { alt: name }), element("figcaption", {}, element("b", { textContent: name }), ` ${WORDS[i]}`, element("br"), element("span")))));
    this.level(0.5); this.source();
  }

  open() { if (!this.shown) this.latest.ask(); }

  start({ seed, model }) {
    this.model = model; this.choose(model);
    $(".seed", this.root).value = seed;
    this.use(null);
  }

  use(picture) { this.picture = picture; this.source(); this.latest.ask(); }

  get offered() { return this.models.find(one => one.name === this.model); }

  source() {
    $(".source-seed", this.root).hidden = !!this.picture || !this.offered.makes;
    $(".drop-picture", this.root).hidden = !this.picture;
  }

  get kind() { return this.kinds.find(one => one.name === $(".kind", this.root).value); }

  /** Set the slider to a kind's own level, or another. */
  level(value = this.kind.level) {
    const { low, high, log } = this.kind;
    const share = log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
    $(".level", this.root).value = Math.round(1000 * share);
    this.words();
  }

  get value() {
    const { low, high, log } = this.kind, share = $(".level", this.root).value / 1000;
    return +(log ? low * (high / low) ** share : low + (high - low) * share).toPrecision(3);
  }

  words() { $("output", $(".level", this.root).closest("label")).textContent = `${this.value} (${this.kind.unit})`; }

  async ask(signal) {
    failed(this.root);
    if (!this.picture && !this.offered.makes) {
      failed(this.root, new Error(`${this.offered.title} makes no images of its own: open a picture, or take the sheet's`));
      return;
    }
    const original = this.picture ?? { seed: Math.max(0, Math.floor(+$(".seed", this.root).value) || 0) };
    try {
      const answer = await post("damage", {
        ...original, model: this.model, kind: this.kind.name, level: this.value, noise_seed: this.otherwise,
      }, signal), { images } = answer;
      this.shown = true;
      code(this.root, answer);
      this.root.querySelectorAll("figure").forEach((figure, i) => {
        const { image, psnr, drift } = images[i], small = this.offered.size && this.offered.size <= 128;
        const shown = $("img", figure);
        shown.src = image; shown.className = small ? "pixel" : "";
        const figures = [i && `PSNR ${psnr === null ? "∞" : psnr.toFixed(1)} dB`, drift !== null && (drift ? `drift ${drift.toFixed(4)}` : "drift 0, at rest")];
        $("span", figure).textContent = figures.filter(Boolean).join(" · ") || "the original";
      });
    } catch (error) { failed(this.root, error); }
  }
}
