// The tab between seeds and pictures.
import { $, Latest, base64, blobOf, busy, choice, code, element, failed, follow, models, post, random } from "./api.js";

const MOST = 3;

export class Mix {
  /** take(blob, model): makes a result real. picture(): what is on the sheet, or null. */
  constructor(about, take, picture) {
    this.root = $("#mix"); this.picture = picture;
    this.panel = $(".outcome", this.root);
    const makers = about.models.filter(one => one.makes);
    this.choose = models($(".models", this.root), makers, name => { this.model = name; this.changed(true); });
    this.model = (makers.find(one => one.name === about.default) ?? makers.find(one => one.name === "faces") ?? makers[0]).name;
    this.choose(this.model);
    this.how = "between";
    choice($(".how", this.root), how => { this.how = how; this.arrange(); this.changed(); })(this.how);
    this.operands = [{ seed: 1, weight: 1 }, { seed: 2, weight: 1 }];
    this.place = $(".place input", this.root);
    follow(this.place, value => (+value).toFixed(2));
    this.place.addEventListener("input", () => this.changed());
    $(".add", this.root).addEventListener("click", () => {
      if (this.operands.length < MOST) this.operands.push({ seed: random(), weight: 1 }); else this.operands.pop();
      this.arrange(); this.changed(true);
    });
    this.latest = new Latest(signal => this.ask(signal), is => busy(this.panel, is));
    this.thumbs = new Latest(signal => this.askEnds(signal));
    $(".animate", this.root).addEventListener("click", () => this.animate());
    $(".take", this.root).addEventListener("click", () => {
      if (this.image) take(blobOf(this.image), this.model);
    });
    this.arrange();
  }

  open() { if (!this.image) this.changed(true); }

  /** Begin with a seed that was chosen elsewhere. */
  start({ seed, model }) {
    this.model = model; this.choose(model);
    this.operands[0] = { seed, weight: 1 };
    this.arrange(); this.changed(true);
  }

  arrange() {
    const n = this.operands.length;
    $(".operands", this.root).replaceChildren(...this.operands.map((one, i) => this.row(one, i)));
    this.place.max = n - 1; this.place.value = Math.min(this.place.value, n - 1);
    this.place.dispatchEvent(new Event("shown")); $(".place output", this.root).textContent = (+this.place.value).toFixed(2);
    $(".place", this.root).hidden = $(".animate", this.root).hidden = this.how === "sum";
    $(".add", this.root).textContent = n < MOST ? "Add a third" : "Remove the third";
  }

  row(one, i) {
    const image = element("img", { alt: `${i + 1}`, className: "pixel" });
    if (one.image) image.src = one.image;
    const seed = element("input", { type: "number", min: 0, value: one.seed ?? "", placeholder: "picture" });
    seed.addEventListener("change", () => this.set(one, { seed: Math.max(0, Math.floor(+seed.value) || 0), picture: undefined }));
    const dice = element("button", { textContent: "Another" });
    dice.addEventListener("click", () => { seed.value = random(); seed.dispatchEvent(new Event("change")); });
    const file = element("input", { type: "file", accept: "image/*", className: "unseen" });
    file.addEventListener("change", async () => this.set(one, { seed: undefined, picture: await base64(file.files[0]) }));
    const row = element("div", { className: "operand card" }, image,
      element("label", { className: "number" }, "Seed ", seed),
      element("div", { className: "actions" }, dice, element("label", { className: "button", textContent: "Picture" }, file)));
    if (this.picture()) {
      const sheet = element("button", { textContent: "Sheet" });
      sheet.addEventListener("click", () => this.set(one, { seed: undefined, ...this.picture() }));
      $(".actions", row).append(sheet);
    }
    if (this.how === "sum") {
      const weight = element("input", { type: "range", min: -2, max: 2, step: 0.05, value: one.weight });
      const label = element("label", { className: "slider" }, "Weight ", element("output"), weight);
      follow(weight, value => (+value).toFixed(2));
      weight.addEventListener("input", () => { one.weight = +weight.value; this.changed(); });
      row.append(label);
    }
    return row;
  }

  set(one, values) {
    Object.assign(one, values, { image: undefined });
    this.arrange(); this.changed(true);
  }

  body() {
    const operands = this.operands.map(({ seed, picture, drawn, weight }) =>
      picture ? { picture, drawn: !!drawn, weight } : { seed, weight });
    return { model: this.model, operands, sum: this.how === "sum", place: +this.place.value };
  }

  changed(ends = false) {
    $(".animation", this.root).hidden = true;
    if (ends) this.thumbs.ask();
    this.latest.ask();
  }

  async askEnds(signal) {
    try {
      const { images } = await post("ends", this.body(), signal);
      images.forEach((image, i) => { if (this.operands[i]) this.operands[i].image = image; });
      this.root.querySelectorAll(".operand > img").forEach((one, i) => { if (images[i]) one.src = images[i]; });
    } catch { /* The mixture's own request says what is wrong. */ }
  }

  async ask(signal) {
    try {
      const answer = await post("mix", this.body(), signal), { image } = answer;
      failed(this.panel);
      code(this.root, answer);
      this.image = image; this.panel.dataset.state = "shown";
      const old = $(".picture img", this.panel) ?? element("img", { alt: "the mixture", className: "pixel" });
      old.src = image;
      if (!old.isConnected) $(".picture", this.panel).append(old);
      $(".download", this.root).href = image;
    } catch (error) { failed(this.panel, error); }
  }

  async animate() {
    busy(this.panel, true);
    $(".animate", this.root).disabled = true;
    try {
      const { image } = await post("animation", this.body());
      const shown = $(".animation", this.root);
      $("img", shown).src = image; $("a", shown).href = image; shown.hidden = false;
    } catch (error) { failed(this.panel, error); }
    busy(this.panel, false);
    $(".animate", this.root).disabled = false;
  }
}
