// What the console does beside showing pages: asks for the live part, says how long ago, remembers the colours.
"use strict";

const EVERY = 2000;
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
const words = new Intl.RelativeTimeFormat(document.documentElement.lang, { numeric: "auto", style: "short" });

function ago(at) {
  const seconds = (at - Date.now()) / 1000;
  const [unit, size] = UNITS.find(([, each]) => Math.abs(seconds) >= each) ?? UNITS.at(-1);
  return words.format(Math.trunc(seconds / size), unit);
}

function tellTimes() {
  for (const time of document.querySelectorAll("time[datetime]:not([data-exact])")) {
    if (!time.title) time.title = time.textContent;
    const text = ago(Date.parse(time.dateTime));
    if (time.textContent !== text) time.textContent = text;
  }
}

// --- the live part: asked for while somebody can see it ----------------------------------------------------------------

let asking = false;
let answeredAt = Date.now();

function poll() {
  const live = document.getElementById("live");
  if (!live || asking || document.hidden || live.contains(document.activeElement) && busy(document.activeElement)) return;
  htmx.trigger(live, "poll");
}

// Nothing is drawn again under somebody who writes or chooses.
function busy(element) {
  return element.matches("input, select, textarea");
}

document.addEventListener("htmx:beforeRequest", () => { asking = true; });
document.addEventListener("htmx:afterRequest", (event) => {
  asking = false;
  const status = event.detail.xhr?.status ?? 0;
  const answered = status >= 200 && status < 400, refused = status >= 400 && status < 500;
  if (answered) answeredAt = Date.now();
  document.getElementById("stale").hidden = answered;
  document.getElementById("stale-refused").hidden = !refused;
  document.getElementById("stale-silent").hidden = refused;
  document.getElementById("stale-since").textContent = new Date(answeredAt).toLocaleTimeString(document.documentElement.lang);
});
document.addEventListener("htmx:afterSettle", tellTimes);
// What a person opened stays open, and how long ago is not what the server knows.
document.addEventListener("htmx:configRequest", (event) => { event.detail.headers["X-Requested-With"] = "console"; });
window.addEventListener("load", () => {
  Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, element) =>
    !(element.tagName === "DETAILS" && name === "open");
  tellTimes();
  setInterval(poll, EVERY);
  setInterval(tellTimes, 1000);
});
document.addEventListener("visibilitychange", poll);

// --- forms -------------------------------------------------------------------------------------------------------------

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
});

// --- colours -----------------------------------------------------------------------------------------------------------

const CHOICES = ["auto", "light", "dark"];
const button = document.getElementById("theme");

function showTheme() {
  const chosen = document.documentElement.dataset.theme ?? "auto";
  button.textContent = { auto: "◐", light: "○", dark: "●" }[chosen];
  button.setAttribute("aria-label", button.dataset[chosen]);
  button.title = button.dataset[chosen];
}

button.hidden = false;
button.addEventListener("click", () => {
  const next = CHOICES[(CHOICES.indexOf(document.documentElement.dataset.theme ?? "auto") + 1) % CHOICES.length];
  if (next === "auto") {
    delete document.documentElement.dataset.theme;
    localStorage.removeItem("theme");
  } else {
    document.documentElement.dataset.theme = next;
    localStorage.setItem("theme", next);
  }
  showTheme();
});
showTheme();
