// Keeps pages fresh: listens to /events and asks for the sections concerned again. Pages work without it.
"use strict";

const DEBOUNCE_MS = 250;
const RETRY_MS = 2000;
const TAIL_MS = 1500;
const CLOCK_MS = 5000;
const ENDED = /^job\.(succeeded|failed|cancelled|skipped)$/;

const banner = document.getElementById("banner");
let source = null;
let lastId = null;

function say(text) {
  banner.hidden = !text;
  banner.textContent = text || "";
}

// --- Sections ---------------------------------------------------------------------------------------------------

const pending = new Map(); // address -> timer, or true while the answer is awaited
const again = new Set(); // addresses that changed meanwhile

function sections() {
  return [...document.querySelectorAll("section[data-live]")];
}

function busy(section) {
  // What somebody is reading or filling in is not pulled from under the hands.
  const selection = document.getSelection();
  const selecting = selection && !selection.isCollapsed && section.contains(selection.anchorNode);
  return selecting || section.contains(document.activeElement?.closest("form input, form select, form textarea"));
}

function refresh(section) {
  const url = section.dataset.live;
  if (pending.get(url) === true) again.add(url);
  if (pending.has(url)) return;
  pending.set(url, setTimeout(() => load(url), DEBOUNCE_MS));
}

async function load(url) {
  pending.set(url, true);
  try {
    const answer = await fetch(url, { headers: { accept: "text/html" } });
    if (answer.ok) {
      replace(url, await answer.text());
      say("");
    } else if (answer.status === 503) later("Waiting for the coordinator …", url);
  } catch {
    later("Waiting for the dashboard …", url);
  } finally {
    pending.delete(url);
    if (again.delete(url)) sections().filter((one) => one.dataset.live === url).forEach(refresh);
  }
}

function later(excuse, url) {
  say(excuse);
  setTimeout(() => sections().filter((one) => one.dataset.live === url).forEach(refresh), RETRY_MS);
}

function replace(url, html) {
  const old = sections().find((one) => one.dataset.live === url);
  if (!old || busy(old)) return;
  const fresh = new DOMParser().parseFromString(html, "text/html").querySelector("section[data-live]");
  if (!fresh || fresh.outerHTML === old.outerHTML) return;
  const focused = old.contains(document.activeElement) ? path(document.activeElement, old) : null;
  const open = [...old.querySelectorAll("details[open][id]")].map((one) => one.id);
  const scrolled = [...old.querySelectorAll(".scroll")].map((one) => one.scrollLeft);
  old.replaceWith(fresh);
  open.forEach((id) => document.getElementById(id)?.setAttribute("open", ""));
  [...fresh.querySelectorAll(".scroll")].forEach((one, index) => (one.scrollLeft = scrolled[index] || 0));
  if (focused) walk(focused, fresh)?.focus({ preventScroll: true });
  schedule(fresh);
}

function path(node, root) {
  const steps = [];
  for (; node !== root; node = node.parentElement) steps.unshift([...node.parentElement.children].indexOf(node));
  return steps;
}

function walk(steps, root) {
  return steps.reduce((node, step) => node?.children[step], root);
}

function schedule(section) {
  const every = Number(section.dataset.every || 0);
  if (every > 0) setTimeout(() => section.isConnected && (document.hidden ? schedule(section) : tick(section)), every);
}

function tick(section) {
  refresh(section);
  // A section that stays as it is goes on by itself; one that is replaced is scheduled anew.
  schedule(section);
}

function concerns(section, event) {
  const kinds = (section.dataset.on || "").split(" ").filter(Boolean);
  const subject = section.dataset.subject;
  return kinds.some((kind) => event.kind.startsWith(kind)) && (!subject || subject === event.job || subject === event.pipeline);
}

// --- Logs -------------------------------------------------------------------------------------------------------

async function follow(log) {
  const box = log;
  const atEnd = box.scrollTop + box.clientHeight >= box.scrollHeight - 30;
  try {
    const answer = await fetch(`${log.dataset.tail}?after=${log.dataset.after}`);
    if (answer.ok) {
      const lines = new DOMParser().parseFromString(await answer.text(), "text/html").body;
      const last = lines.querySelector("li:last-of-type");
      if (last) log.dataset.after = last.dataset.id;
      log.append(...lines.childNodes);
      while (log.childElementCount > 2000) log.firstElementChild.remove();
      if (atEnd) box.scrollTop = box.scrollHeight;
    }
  } catch {
    // The banner says it; the next round tries again.
  }
}

async function tail(log) {
  if (log.dataset.following) return;
  log.dataset.following = "yes";
  while ("active" in log.dataset) {
    if (!document.hidden) await follow(log);
    await new Promise((resolve) => setTimeout(resolve, TAIL_MS));
  }
  await follow(log);
  delete log.dataset.following;
}

function steerTails(event) {
  document.querySelectorAll("[data-tail]").forEach((log) => {
    if (log.dataset.subject !== event.job || !event.kind.startsWith("job.")) return;
    if (ENDED.test(event.kind)) delete log.dataset.active;
    else {
      log.dataset.active = "";
      tail(log);
    }
  });
}

// --- Events -----------------------------------------------------------------------------------------------------

function listen() {
  if (source) return;
  source = new EventSource(lastId ? `/events?after=${lastId}` : "/events");
  source.addEventListener("ready", () => {
    say("");
    // Not at once: where the coordinator answers but cannot serve the page, that would be a storm.
    if (document.querySelector("[data-reload-when-ready]")) setTimeout(() => location.reload(), RETRY_MS / 2);
    sections().forEach(refresh);
  });
  source.addEventListener("waiting", () => say("Waiting for the coordinator …"));
  source.onmessage = (message) => {
    if (message.lastEventId) lastId = message.lastEventId;
    const event = JSON.parse(message.data);
    sections().filter((section) => concerns(section, event)).forEach(refresh);
    steerTails(event);
  };
  source.onerror = () => {
    say("Waiting for the dashboard …");
    // Browsers give up for good on some errors; a page left open shall come back all the same.
    if (source && source.readyState === EventSource.CLOSED) {
      source = null;
      setTimeout(listen, RETRY_MS);
    }
  };
}

function hush() {
  // A browser opens few connections to one host: pages out of sight give theirs back.
  source?.close();
  source = null;
}

// --- Small things -----------------------------------------------------------------------------------------------

function ago(seconds) {
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} days ago`;
}

function clock() {
  document.querySelectorAll("time[data-ago]").forEach((time) => {
    const text = ago((Date.now() - Date.parse(time.dateTime)) / 1000);
    if (time.textContent !== text) time.textContent = text;
  });
}

document.addEventListener("click", async (click) => {
  const button = click.target.closest("[data-copy]");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.classList.add("copied");
    setTimeout(() => button.classList.remove("copied"), 1200);
  } catch {
    window.prompt("Copy:", button.dataset.copy);
  }
});

// --- Try it -----------------------------------------------------------------------------------------------------

function tryOut(form) {
  const file = form.querySelector("input[type=file]");
  const url = form.querySelector("input[type=url]");
  const preview = form.querySelector("#preview");
  const result = document.getElementById("prediction");
  const drop = form.querySelector(".drop");

  function take(files) {
    const picture = [...files].find((one) => one.type.startsWith("image/")) || files[0];
    if (!picture) return;
    const chosen = new DataTransfer();
    chosen.items.add(picture);
    file.files = chosen.files;
    classify();
  }

  async function classify() {
    const picture = file.files[0];
    if (preview.src) URL.revokeObjectURL(preview.src);
    preview.hidden = !picture;
    if (picture) preview.src = URL.createObjectURL(picture);
    result.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(form.dataset.fragment, { method: "POST", body: new FormData(form) });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      result.replaceChildren(...(page.querySelector("main") || page.body).childNodes);
    } catch {
      result.textContent = "The dashboard could not be reached. Try again.";
    } finally {
      result.removeAttribute("aria-busy");
    }
  }

  form.addEventListener("submit", (submit) => {
    submit.preventDefault();
    classify();
  });
  file.addEventListener("change", () => {
    url.value = "";
    classify();
  });
  url.addEventListener("input", () => (file.value = ""));
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (drag) => {
      drag.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
      if (kind !== "drop") return;
      url.value = "";
      take(drag.dataTransfer.files);
    });
  }
  document.addEventListener("paste", (paste) => paste.clipboardData.files.length && take(paste.clipboardData.files));
}

// --- Start ------------------------------------------------------------------------------------------------------

document.addEventListener("visibilitychange", () => (document.hidden ? hush() : listen()));
sections().forEach(schedule);
document.querySelectorAll("[data-tail]").forEach((log) => {
  log.scrollTop = log.scrollHeight;
  if ("active" in log.dataset) tail(log);
});
const form = document.getElementById("try");
if (form) tryOut(form);
setInterval(clock, CLOCK_MS);
if (!document.hidden) listen();
