// The tab of images out of noise.
import { $, element, failed, follow, models, post, random } from "./api.js";

const AT_ONCE = 12, FIRST = 36;

export class Seeds {
  /** to: where an image may be taken, by name. */
  constructor(about, to) {
    this.root = $("#seeds"); this.to = to; this.dtype = about.dtype;
    const makers = about.models.filter(one => one.makes);
    this.choose = models($(".models", this.root), makers, name => { this.model = name; this.restart(); });
    this.model = (makers.find(one => one.name === about.default) ?? makers.find(one => one.name === "faces") ?? makers[0]).name;
    this.choose(this.model);
    const steps = $(".steps", this.root);
    follow(steps);
    for (const input of [steps, $(".first", this.root)]) input.addEventListener("change", () => this.restart());
    $(".dice", this.root).addEventListener("click", () => { $(".first", this.root).value = random(); this.restart(); });
    $(".moreseeds", this.root).addEventListener("click", () => this.more(FIRST));
    new IntersectionObserver(seen => { if (seen[0].isIntersecting && this.next !== undefined) this.more(FIRST); }, { rootMargin: "300px" })
      .observe($(".moreseeds", this.root));
    this.dialog();
  }

  open() { if (this.next === undefined) this.restart(); }

  restart() {
    this.control?.abort();
    this.control = new AbortController();
    this.under = false;
    this.next = Math.max(0, Math.floor(+$(".first", this.root).value) || 0);
    $(".grid", this.root).replaceChildren();
    failed(this.root);
    this.more(FIRST);
  }

  async more(count) {
    if (this.under) return;
    this.under = true;
    const { signal } = this.control, steps = +$(".steps", this.root).value, { model } = this;
    try {
      for (let done = 0; done < count && !signal.aborted; done += AT_ONCE) {
        const seeds = Array.from({ length: AT_ONCE }, (_, i) => this.next + i);
        this.next += AT_ONCE;
        const cells = seeds.map(seed => {
          const cell = element("button", { type: "button" }, element("div", { className: "wait" }), element("span", { textContent: seed }));
          cell.setAttribute("aria-label", `seed ${seed}`);
          return cell;
        });
        $(".grid", this.root).append(...cells);
        try {
          const { images } = await post("seeds", { model, seeds, steps }, signal);
          images.forEach((one, i) => {
            cells[i].firstChild.replaceWith(element("img", { src: one.image, alt: "", className: "pixel" }));
            cells[i].addEventListener("click", () => this.show({ ...one, model, steps }));
          });
        } catch (error) { cells.forEach(cell => cell.remove()); failed(this.root, error); return; }
      }
    } finally { if (!signal.aborted) this.under = false; }
  }

  dialog() {
    const dialog = $("dialog");
    dialog.addEventListener("click", async event => {
      if (event.target === dialog || event.target.matches(".close")) dialog.close();
      if (event.target.dataset?.to) { dialog.close(); this.to[event.target.dataset.to](this.one); }
    });
  }

  show(one) {
    this.one = one;
    const dialog = $("dialog");
    $("img", dialog).src = one.image;
    const k = (one.steps > 1 ? ` -k ${one.steps}` : "") + (this.dtype === "auto" ? "" : ` --dtype ${this.dtype}`);
    $(".caption", dialog).replaceChildren(`Seed ${one.seed}. `, element("code", { textContent: `mir generate -m ${one.model} --seeds ${one.seed}${k}` }));
    Object.assign($(".download", dialog), { href: one.image, download: `${String(one.seed).padStart(6, "0")}.png` });
    dialog.showModal();
  }
}
