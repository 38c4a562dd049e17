// The sheet: a pen on paper, or on a picture.
import { $, base64, element, ofUrl, pictureOf, post } from "./api.js";

const SIDE = 448, MOST_PIXELS = 16e6;
const COLOURS = { black: "#111", brown: "#7a4a2b", skin: "#e2b08e", red: "#d22", yellow: "#edc22e", green: "#2c8a4b", blue: "#2f6fd0", white: "#fff" };

export class Sheet {
  /** changed(kind): called after each stroke's part and for each new picture. */
  constructor(card, changed) {
    this.card = card; this.changed = changed;
    this.root = $(".sheet", card);
    this.base = $(".base", card); this.ink = $(".ink", card);
    this.strokes = []; this.undone = [];
    this.colour = COLOURS.black; this.erasing = false;
    this.palette(); this.pointer(); this.keys(); this.drops();
    this.blank();
  }

  get width() { return +$(".size input", this.card).value * this.ink.width / SIDE; }
  get empty() { return !this.file && !this.strokes.length; }

  blank() {
    this.file = null;
    this.resize(SIDE, SIDE);
    this.root.classList.remove("has-picture", "still");
    this.strokes = []; this.undone = [];
    const base = this.base.getContext("2d");
    base.fillStyle = "#fff"; base.fillRect(0, 0, SIDE, SIDE);
    this.redraw();
  }

  resize(width, height) {
    for (const canvas of [this.base, this.ink]) { canvas.width = width; canvas.height = height; }
    // Very tall and very wide pictures leave room at their sides.
    const shape = width / height, frame = Math.min(2.5, Math.max(0.8, shape));
    this.card.parentElement.style.setProperty("--shape", frame);
    this.root.classList.toggle("tall", shape < frame);
    this.root.classList.toggle("flat", shape > frame);
  }

  /** Put a picture on the sheet. Throws an Error for people where it is none. */
  async load(blob) {
    const data = await base64(blob);
    const bitmap = await createImageBitmap(blob).catch(async () => {
      // The server reads more kinds of files than the browser, and says what is wrong.
      const { image } = await post("picture", { picture: data });
      const shown = element("img", { src: image });
      await shown.decode();
      return shown;
    });
    const factor = Math.min(1, Math.sqrt(MOST_PIXELS / (bitmap.width * bitmap.height)));
    this.resize(Math.round(bitmap.width * factor), Math.round(bitmap.height * factor));
    this.base.getContext("2d").drawImage(bitmap, 0, 0, this.base.width, this.base.height);
    this.file = data;
    this.pixels = bitmap.width * bitmap.height;
    this.strokes = []; this.undone = [];
    this.root.classList.add("has-picture");
    // Strokes would be drawn on a smaller copy of it.
    this.root.classList.toggle("still", factor < 1);
    this.redraw();
    this.changed("picture");
  }

  /** The picture as the server takes it. */
  data() {
    if (this.file && !this.strokes.length) return { picture: this.file, drawn: false };
    const sheet = element("canvas", { width: this.base.width, height: this.base.height });
    const context = sheet.getContext("2d");
    context.drawImage(this.base, 0, 0); context.drawImage(this.ink, 0, 0);
    return { picture: ofUrl(sheet.toDataURL("image/png")), drawn: !this.file };
  }

  /** The address of the picture, to be shown before the result. */
  shown() {
    return this.file && !this.strokes.length ? null : `data:image/png;base64,${this.data().picture}`;
  }

  /** Draw a stroke from one of its points on, as the pen did: piece by piece. */
  segment(stroke, from) {
    const context = this.ink.getContext("2d"), { points } = stroke;
    context.globalCompositeOperation = stroke.erase ? "destination-out" : "source-over";
    context.strokeStyle = stroke.colour;
    context.lineWidth = stroke.width; context.lineCap = "round";
    for (let i = from; i < points.length; i++) {
      context.beginPath();
      context.moveTo(...points[i - 1]); context.lineTo(...points[i]);
      context.stroke();
    }
  }

  redraw() {
    this.ink.getContext("2d").clearRect(0, 0, this.ink.width, this.ink.height);
    for (const stroke of this.strokes) this.segment(stroke, 1);
    this.buttons();
  }

  buttons() {
    this.root.toggleAttribute("data-empty", this.empty);
    $(".undo", this.card).disabled = !this.strokes.length;
    $(".redo", this.card).disabled = !this.undone.length;
    $(".clear", this.card).disabled = this.empty;
  }

  begin(point) {
    this.stroke = { colour: this.colour, erase: this.erasing, width: this.width, points: [point] };
    this.strokes.push(this.stroke); this.undone = [];
    this.extend(point);
  }

  extend(point) {
    this.stroke.points.push(point);
    this.segment(this.stroke, this.stroke.points.length - 1);
    this.buttons();
    this.changed("stroke");
  }

  step(from, to) {
    if (!from.length) return;
    to.push(from.pop());
    this.redraw(); this.changed("stroke");
  }

  palette() {
    const group = $(".colours", this.card);
    const pick = (colour, chosen) => {
      this.colour = colour; this.erase(false);
      for (const one of group.children) one.setAttribute("aria-checked", one === chosen);
    };
    for (const [name, colour] of Object.entries(COLOURS)) {
      const button = element("button", { type: "button", title: name });
      button.setAttribute("role", "radio"); button.setAttribute("aria-label", name);
      button.style.setProperty("--c", colour);
      button.addEventListener("click", () => pick(colour, button));
      group.append(button);
    }
    const own = element("input", { type: "color", value: "#8844cc", title: "Any colour" });
    own.setAttribute("aria-label", "Any colour");
    own.addEventListener("input", () => pick(own.value, own));
    group.append(own);
    pick(COLOURS.black, group.firstChild);
  }

  erase(is) {
    this.erasing = is;
    $(".eraser", this.card).setAttribute("aria-pressed", is);
  }

  pointer() {
    const { ink } = this;
    const place = event => {
      const box = ink.getBoundingClientRect();
      return [(event.clientX - box.left) * ink.width / box.width, (event.clientY - box.top) * ink.height / box.height];
    };
    ink.addEventListener("pointerdown", event => {
      if (event.button || this.root.classList.contains("still")) return;
      ink.setPointerCapture(event.pointerId);
      this.begin(place(event));
    });
    ink.addEventListener("pointermove", event => {
      if (!this.stroke || !ink.hasPointerCapture(event.pointerId)) return;
      const parts = event.getCoalescedEvents?.() ?? [];
      for (const part of parts.length ? parts : [event]) this.extend(place(part));
    });
    for (const end of ["pointerup", "pointercancel"]) ink.addEventListener(end, () => { this.stroke = null; });
    const on = (selector, work) => $(selector, this.card).addEventListener("click", work);
    on(".undo", () => this.step(this.strokes, this.undone));
    on(".redo", () => this.step(this.undone, this.strokes));
    on(".clear", () => { this.blank(); this.changed("blank"); });
    on(".eraser", () => this.erase(!this.erasing));
  }

  keys() {
    let at = [SIDE / 2, SIDE / 2], down = false;
    this.ink.addEventListener("keydown", event => {
      const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (event.key === " ") {
        event.preventDefault();
        down = !down;
        if (down) this.begin(at); else this.stroke = null;
      } else if (way) {
        event.preventDefault();
        const by = this.ink.width / (event.shiftKey ? 112 : 28);
        at = at.map((value, i) => Math.min(i ? this.ink.height : this.ink.width, Math.max(0, value + by * way[i])));
        if (down) this.extend(at);
      }
    });
    document.addEventListener("keydown", event => {
      if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z" || this.card.closest("[hidden]")) return;
      event.preventDefault();
      if (event.shiftKey) this.step(this.undone, this.strokes); else this.step(this.strokes, this.undone);
    });
  }

  drops() {
    const take = file => { if (file) this.taken(file); };
    for (const input of this.card.querySelectorAll(".open")) {
      input.addEventListener("change", () => { take(input.files[0]); input.value = ""; });
    }
    for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
      this.root.addEventListener(kind, event => {
        event.preventDefault();
        this.root.classList.toggle("over", kind === "dragenter" || kind === "dragover");
        if (kind === "drop") take(pictureOf(event.dataTransfer) ?? event.dataTransfer.files[0]);
      });
    }
    document.addEventListener("paste", event => {
      if (!this.card.closest("[hidden]")) take(pictureOf(event.clipboardData));
    });
  }
}
