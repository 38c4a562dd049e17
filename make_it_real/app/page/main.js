// The page: its tabs, and what is taken from one to the other.
import { $, blobOf, copy, element } from "./api.js";
import { Damage } from "./damage.js";
import { Mix } from "./mix.js";
import { Real } from "./real.js";
import { Seeds } from "./seeds.js";

// The token has become a cookie, and need not stand in the address.
if (location.search) history.replaceState(null, "", location.pathname + location.hash);

const answer = await fetch("api/about");
const about = await answer.json();
if (!answer.ok) throw new Error(about.error);
const names = ["real", "seeds", "mix", "damage"];
const tabs = {};

function show(name) {
  for (const one of names) {
    const tab = $(`#tab-${one}`), is = one === name;
    tab.setAttribute("aria-selected", is); tab.tabIndex = is ? 0 : -1;
    $(`#${one}`).hidden = !is;
  }
  history.replaceState(null, "", `#${name}`);
  tabs[name].open?.();
}

const take = (blob, model) => { show("real"); tabs.real.take(blob, model); };
tabs.real = new Real(about);
tabs.mix = new Mix(about, take, () => tabs.real.data());
tabs.damage = new Damage(about, () => tabs.real.data());
tabs.seeds = new Seeds(about, {
  real: one => take(blobOf(one.image), one.model),
  mix: one => { show("mix"); tabs.mix.start(one); },
  damage: one => { show("damage"); tabs.damage.start(one); },
});

const list = $("[role=tablist]");
list.addEventListener("click", event => { if (event.target.id) show(event.target.id.slice(4)); });
list.addEventListener("keydown", event => {
  const way = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!way) return;
  const at = names.indexOf(event.target.id.slice(4)), next = names[(at + way + names.length) % names.length];
  show(next); $(`#tab-${next}`).focus();
});
for (const button of document.querySelectorAll(".copy")) button.addEventListener("click", () => copy(button));
$("footer .about").textContent = `mir ${about.version} on ${about.device}. `;
const licences = about.models.filter(one => /non-commercial/.test(one.licence)).map(one => one.title);
if (licences.length) $("footer").append(element("span", { textContent: ` ${licences.join(" and ")}: weights for non-commercial research only.` }));
show(names.includes(location.hash.slice(1)) ? location.hash.slice(1) : "real");
document.body.dataset.ready = "";
