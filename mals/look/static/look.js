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

// Verdicts: k keeps, r rejects, u takes the last one of this page back. They are sent one after the other: of two at once the later one
// might arrive first.
const undo = [];
const judged = () => document.activeElement?.closest("figure.cell[data-row]") || document.querySelector("form.judge");
let waiting = Promise.resolve();
const inTurn = (work) => (waiting = waiting.then(work));

// Empty where the verdict was taken, otherwise the sentence that says why not.
async function send(row, verdict) {
  try {
    const answer = await fetch(`/verdict/${row}`, {
      method: "POST",
      headers: { accept: "application/json", "content-type": "application/x-www-form-urlencoded" },
      body: new URLSearchParams({ verdict }),
    });
    const text = await answer.text();
    if (answer.ok) return "";
    return answer.headers.get("content-type")?.includes("json") ? JSON.parse(text).sentence : text || answer.statusText;
  } catch {
    return "The verdict was not taken: mals look does not answer.";
  }
}

// Send a verdict and show it; whether it was taken.
async function judge(element, verdict) {
  const sentence = await send(element.dataset.row, verdict);
  const refusal = document.getElementById("refusal");
  refusal.hidden = !sentence;
  refusal.textContent = sentence;
  if (sentence) return false;
  element.dataset.verdict = verdict === "none" ? "" : verdict;
  const label = element.querySelector(".said, #said");
  const long = label.id === "said";
  label.textContent = verdict === "none" ? (long ? "No verdict of a person." : "") : long ? `A person says: ${verdict}.` : `${verdict} by a person`;
  for (const button of element.querySelectorAll("button[aria-pressed]")) button.removeAttribute("aria-pressed");
  element.querySelector(`button[value="${verdict}"]:not([value=none])`)?.setAttribute("aria-pressed", "true");
  return true;
}

const judgeInTurn = (element, verdict) =>
  inTurn(async () => {
    const before = element.dataset.verdict || "none";
    if (await judge(element, verdict)) undo.push([element, before]);
  });

const undoInTurn = () =>
  inTurn(async () => {
    const last = undo.pop();
    if (last && !(await judge(...last))) undo.push(last);
    if (!last && document.querySelector("form.judge")) await judge(document.querySelector("form.judge"), "none");
  });

function judgeByKey(event) {
  const verdict = { k: "keep", r: "reject", u: "undo" }[event.key];
  if (!verdict || !document.getElementById("refusal")) return false;
  const element = judged();
  if (event.repeat) return true; // the key is held down
  if (verdict === "undo") undoInTurn();
  else if (element) judgeInTurn(element, verdict);
  return true;
}

document.addEventListener("submit", (event) => {
  if (!event.target.matches("form.judge")) return;
  event.preventDefault();
  judgeInTurn(event.target, event.submitter.value);
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || event.target.matches("input[type=range]")) return;
  if (judgeByKey(event)) return event.preventDefault();
  if (!event.key.startsWith("Arrow") || event.target.closest(".scroll")) return; // tables scroll by the arrows
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
  const text = document.getElementById(button.dataset.copy);
  getSelection().selectAllChildren(text);
  if (navigator.clipboard) await navigator.clipboard.writeText(text.textContent);
  button.textContent = navigator.clipboard || document.execCommand("copy") ? "Copied" : "Selected"; // without https there is no clipboard
});
