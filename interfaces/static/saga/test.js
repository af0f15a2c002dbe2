// The page /saga/test: starts a saga through the engine's own API, and asks for its events until it rests.
"use strict";

const LOOK_EVERY = 250; // milliseconds
const PATIENCE = 5000; // milliseconds without a first call, after which the worker may be missing
const RESTING = new Set(["COMPLETED", "COMPENSATED", "FAILED", "STUCK", "PAUSED"]);
const SIGNS = { waiting: "○", running: "…", retrying: "↻", done: "✓", unneeded: "–", failed: "✗", undoing: "…", undone: "↶" };

const { workflows, slow, words } = JSON.parse(document.getElementById("shown").textContent);
const byId = (id) => document.getElementById(id);
let run = 0; // what belongs to an earlier run is not shown any more

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// A sentence of the page's language, with its parts put in.
function say(name, parts = {}) {
  return words[name].replace(/\{(\w+)\}/g, (_, part) => parts[part]);
}

// The engine's own reasons, each as it is stored and in the page's language; the others stay as they were given.
const PART = /%\((\w+)\)s/;
const reasons = words.reasons.map(([template, said]) => {
  const pieces = template.split(PART).map((piece, at) => (at % 2 ? `(?<${piece}>[^]*)` : piece.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")));
  return [new RegExp(`^${pieces.join("")}$`), said];
});

function inWords(reason) {
  for (const [pattern, said] of reasons) {
    const found = pattern.exec(reason);
    if (found) return said.replace(/%\((\w+)\)s/g, (_, part) => (part === "reason" ? inWords(found.groups[part]) : found.groups[part]));
  }
  return reason;
}

function standingAs(name) {
  return SIGNS[name] ? `${SIGNS[name]} ${words[name]}` : "";
}

function chosen() {
  return workflows.find((workflow) => workflow.name === byId("workflow").value);
}

function choice(value, text, checked) {
  const input = element("input", { type: "radio", name: "step", value, checked });
  return element("label", {}, input, element("span", { textContent: text }));
}

function showWorkflow() {
  const { steps, input } = chosen();
  byId("choices").replaceChildren(choice("", say("none"), true), ...steps.filter(({ marks }) => marks).map(({ name }) => choice(name, name, false)));
  byId("input").value = JSON.stringify(input, null, 2);
  run += 1;
  byId("run").disabled = false;
  byId("ids").hidden = true;
  byId("log").replaceChildren();
  showFault("");
  showStatus("", say("nothing_yet"));
  showSteps(chosen(), []);
}

function showFault(text) {
  byId("fault").textContent = text;
  byId("fault").hidden = !text;
}

function showStatus(kind, text) {
  const shown = byId("outcome-of-run");
  if (shown.textContent !== text) shown.textContent = text; // a live region: said once
  shown.className = `status ${kind}`;
}

// What the events say of each step: { do, undo, why }.
function standing(steps, events) {
  const found = new Map(steps.map((step) => [step.name, { do: "waiting", undo: "none", why: "" }]));
  for (const event of events) {
    const step = found.get(event.step);
    if (!step) continue;
    if (event.action === "undo") {
      step.undo = { undo_succeeded: "undone", step_skipped: "undone", attempt_failed: event.due_at ? "retrying" : "failed" }[event.type] || "undoing";
    } else if (event.type === "attempt_scheduled") step.do = "running";
    else if (event.type === "attempt_failed") step.do = event.due_at ? "retrying" : "failed";
    else if (event.type === "step_failed" || event.type === "deadline_passed") step.do = "failed";
    else if (event.type === "step_succeeded" || event.type === "step_skipped") step.do = event.action ? "done" : "unneeded";
    if (event.type === "step_failed") step.why = inWords(event.reason || "");
  }
  return found;
}

function showSteps(workflow, events) {
  const found = standing(workflow.steps, events);
  byId("steps").replaceChildren(...workflow.steps.map(({ name, place, undoable }) => {
    const { do: done, undo, why } = found.get(name);
    const note = why || (undoable ? place : say("safe", { place }));
    return element("li", {},
      element("span", { className: "name", textContent: name }, element("small", { textContent: note })),
      element("span", { className: done, textContent: standingAs(done) }),
      element("span", { className: undo === "failed" ? "failed" : undo === "none" ? "waiting" : "undoing", textContent: undo === "failed" ? `✗ ${say("undo_failed")}` : standingAs(undo) }));
  }));
}

function sentence(event) {
  const place = event.step ? ` ${event.step}${event.item === null ? "" : `[${event.item}]`}` : "";
  const what = ["undo", "inquire", "await"].includes(event.action) ? ` ${say(event.action)}` : "";
  const attempt = event.attempt > 1 ? `, ${say("attempt", { n: event.attempt })}` : "";
  const told = `${words.events[event.type]}${place}${what}${attempt} → ${event.state}`;
  return event.reason ? say("because", { told, reason: inWords(event.reason) }) : told;
}

function showLog(events) {
  const log = byId("log");
  const fresh = events.slice(log.childElementCount);
  log.append(...fresh.map((event) => {
    const time = element("time", { dateTime: event.at, textContent: event.at.slice(11, 23) });
    return element("li", {}, time, ` ${sentence(event)}`);
  }));
  if (fresh.length) log.scrollTop = log.scrollHeight;
}

function newId() {
  const parts = crypto.getRandomValues(new Uint8Array(16)); // randomUUID needs https or localhost
  parts[6] = (parts[6] & 0x0f) | 0x40;
  parts[8] = (parts[8] & 0x3f) | 0x80;
  const hex = Array.from(parts, (part) => part.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

async function ask(address, options = {}) {
  const answer = await fetch(address, { cache: "no-store", ...options });
  const body = await answer.json();
  if (answer.status < 400 || body.status !== answer.status) return body; // a refused saga is a saga, not a problem
  const fields = Object.entries(body.errors || {}).map(([name, faults]) => `${name}: ${[].concat(faults).join(", ")}`);
  throw new Error([body.detail, ...fields].join("\n"));
}

async function eventsOf(id) {
  const events = [];
  let cursor = "";
  do {
    const page = await ask(`/api/sagas/transactions/${id}/events/?limit=200${cursor}`);
    events.push(...page.results);
    cursor = page.next ? `&cursor=${encodeURIComponent(page.next)}` : "";
  } while (cursor);
  return events;
}

async function follow(workflow, id, mine) {
  const began = Date.now();
  while (mine === run) {
    const events = await eventsOf(id);
    if (mine !== run) return;
    showSteps(workflow, events);
    showLog(events);
    const last = events.at(-1);
    if (RESTING.has(last.status)) {
      const failure = events.find((event) => event.type === "step_failed" || event.type === "deadline_passed");
      const reason = last.status === "STUCK" ? last.reason : failure && failure.reason;
      const why = last.status !== "COMPLETED" && reason ? ` ${say("reason", { reason: inWords(reason) })}` : "";
      showStatus(last.status === "COMPLETED" ? "good" : "bad", `${last.status} (${last.state}). ${say(last.status)}${why}`);
      return;
    }
    const idle = events.length <= 2 && Date.now() - began > PATIENCE;
    showStatus("busy", `${last.status} (${last.state})${idle ? `. ${say("idle")}` : ""}`);
    await new Promise((wake) => setTimeout(wake, LOOK_EVERY));
  }
}

async function start(event) {
  event.preventDefault();
  const workflow = chosen();
  const mine = ++run;
  showFault("");
  byId("log").replaceChildren();
  byId("ids").hidden = true;
  showSteps(workflow, []);
  showStatus("busy", say("starting"));
  byId("run").disabled = true;
  try {
    const step = workflow.steps.find(({ name }) => name === new FormData(byId("form")).get("step"));
    const marks = (step ? step.marks[byId("outcome").value] : "") + (byId("slow").checked ? slow : "");
    const asked = { workflow: workflow.name, input: JSON.parse(byId("input").value), correlation_id: newId() + marks };
    const headers = { "Content-Type": "application/json", Prefer: "respond-async" };
    const saga = await ask("/api/sagas/start/", { method: "POST", headers, body: JSON.stringify(asked) });
    byId("correlation").textContent = saga.correlation_id;
    Object.assign(byId("saga"), { textContent: saga.id, href: `/console/sagas/${saga.id}/` });
    byId("ids").hidden = false;
    if (byId("log").getBoundingClientRect().top > window.innerHeight) byId("happens").scrollIntoView();
    await follow(workflow, saga.id, mine);
  } catch (error) {
    if (mine === run) {
      showFault(error instanceof SyntaxError ? say("no_json", { why: error.message }) : error.message);
      showStatus("bad", say("not_run"));
    }
  } finally {
    if (mine === run) byId("run").disabled = false;
  }
}

byId("workflow").append(...workflows.map(({ name, title }) => element("option", { value: name, textContent: title === name ? name : `${name}: ${title}` })));
byId("workflow").addEventListener("change", showWorkflow);
byId("form").addEventListener("submit", start);
showWorkflow();
