"use strict";
// Keys, sliders and the copy button. Pages work without it: forms have their own buttons.
document.documentElement.classList.add("js");
document.querySelector("header nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

const cells = () => [...document.querySelectorAll("main .grid figure.cell a")];
const typing = (element) => element.matches("input:not([type=checkbox]):not([type=range]), select, textarea");

// Arrows move between the images of a page: up and down by a line of the grid.
function move(key) {
  const links = cells();
  if (!links.length) return false;
  const here = links.indexOf(document.activeElement);
  if (here < 0) {
    links[0].focus();
    return true;
  }
  const top = links[here].getBoundingClientRect().top;
  const across = Math.max(1, links.filter((link) => Math.abs(link.getBoundingClientRect().top - top) < 4).length);
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[key];
  const next = links[here + step];
  if (next) next.focus();
  return Boolean(next);
}

// Verdicts: k keeps, r rejects, u takes the last one of this page back.
const undo = [];
const judged = () => document.activeElement?.closest("figure.cell[data-row]") || document.querySelector("form.judge");

async function judge(element, verdict, remember = true) {
  const before = element.dataset.verdict || "none";
  const answer = await fetch(`/verdict/${element.dataset.row}`, {
    method: "POST",
    headers: { accept: "application/json", "content-type": "application/x-www-form-urlencoded" },
    body: new URLSearchParams({ verdict }),
  });
  const result = await answer.json();
  const refusal = document.getElementById("refusal");
  refusal.hidden = answer.ok;
  refusal.textContent = answer.ok ? "" : result.sentence;
  if (!answer.ok) return;
  if (remember) undo.push([element, before]);
  element.dataset.verdict = verdict === "none" ? "" : verdict;
  const label = element.querySelector(".said, #said");
  const long = label.id === "said";
  label.textContent = verdict === "none" ? (long ? "No verdict of a person." : "") : long ? `A person says: ${verdict}.` : `${verdict} by a person`;
  for (const button of element.querySelectorAll("button[aria-pressed]")) button.removeAttribute("aria-pressed");
  element.querySelector(`button[value="${verdict}"]:not([value=none])`)?.setAttribute("aria-pressed", "true");
}

function judgeByKey(key) {
  const refusal = document.getElementById("refusal");
  if (!refusal) return false;
  if (key === "u" && undo.length) judge(...undo.pop(), false);
  else if (key === "u" && document.querySelector("form.judge")) judge(document.querySelector("form.judge"), "none");
  const verdict = { k: "keep", r: "reject" }[key];
  const element = judged();
  if (verdict && element) judge(element, verdict);
  return Boolean(verdict) || key === "u";
}

document.addEventListener("submit", (event) => {
  if (!event.target.matches("form.judge")) return;
  event.preventDefault();
  judge(event.target, event.submitter.value);
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || event.target.matches("input[type=range]")) return;
  if (judgeByKey(event.key)) return event.preventDefault();
  if (!event.key.startsWith("Arrow")) return;
  if (cells().length) {
    if (move(event.key)) event.preventDefault();
    return;
  }
  const link = document.querySelector({ ArrowLeft: "nav.paging a[rel=prev]", ArrowRight: "nav.paging a[rel=next]" }[event.key] || "#none");
  if (link) link.click();
});

// A slider and the number beside it are one value.
document.addEventListener("input", (event) => {
  const target = event.target;
  if (target.matches("input.slider")) document.getElementById(target.dataset.for).value = target.value;
  else if (target.form && target.form.matches("form.limits")) {
    const slider = target.form.querySelector(`input.slider[data-for="${target.id}"]`);
    if (slider && target.value !== "") slider.value = target.value;
  }
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button.copy");
  if (!button) return;
  await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
  button.textContent = "Copied";
});
