// Two pictures of one size, one above the other, and a slider between them.
import { element } from "./api.js";

export function compare(before, after) {
  const range = element("input", { type: "range", min: 0, max: 100, value: 50, step: 0.5 });
  range.setAttribute("aria-label", "Before and after");
  const box = element("div", { className: "compare" },
    element("img", { className: "after", src: after, alt: "after" }),
    element("img", { className: "before", src: before, alt: "before" }),
    element("div", { className: "edge" }),
    element("span", { className: "label b", textContent: "before" }),
    element("span", { className: "label a", textContent: "after" }), range);
  const move = value => { range.value = value; box.style.setProperty("--at", `${value}%`); };
  range.addEventListener("input", () => move(range.value));
  const drag = event => {
    if (event.target === range || !(event.buttons & 1 || event.type === "pointerdown")) return;
    const place = box.getBoundingClientRect();
    move(Math.min(100, Math.max(0, (event.clientX - place.left) / place.width * 100)));
  };
  box.addEventListener("pointerdown", drag);
  box.addEventListener("pointermove", drag);
  return box;
}
