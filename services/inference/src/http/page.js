
"use strict";
const $ = (id) => document.getElementById(id);
const main = document.querySelector("main");
let latest = 0;
let asked = null; // The picture whose answer is shown, for those who want it explained.

function query(more = {}) {
  const parts = new URLSearchParams(more);
  if ($("endpoint").value) parts.set("endpoint", $("endpoint").value);
  return parts.toString() ? `?${parts}` : "";
}

async function listEndpoints() {
  try {
    const endpoints = await (await fetch("endpoints")).json();
    const chosen = $("endpoint").value;
    const options = endpoints.map(({ endpoint, state }) =>
      new Option(state === "ready" ? endpoint : `${endpoint} (${state})`, endpoint, false, endpoint === chosen));
    $("endpoint").replaceChildren(...(options.length ? options : [new Option("none yet", "")]));
    $("endpoint").disabled = options.length === 0;
  } catch {
    // The node is restarting; the next round finds it.
  }
  $("curl").textContent = `curl --data-binary @picture.jpg '${location.origin}/classify${query()}'`;
}

function show(answer) {
  $("bars").replaceChildren(...answer.predictions.map(({ class: name, probability }) => {
    const percent = `${(probability * 100).toFixed(1)} %`;
    const item = document.createElement("li");
    const line = document.createElement("div");
    const [label, figure] = [document.createElement("button"), document.createElement("span")];
    const [track, fill] = [document.createElement("div"), document.createElement("div")];
    [label.textContent, figure.textContent] = [name, percent];
    [label.type, label.title] = ["button", `Show what speaks for ${name}`];
    label.addEventListener("click", () => explain(name));
    [track.className, fill.className] = ["track", "fill"];
    line.append(label, figure);
    track.append(fill);
    item.append(line, track);
    requestAnimationFrame(() => { fill.style.width = `${probability * 100}%`; });
    return item;
  }));
  $("note").textContent = `${answer.endpoint} · ${answer.milliseconds} ms · model ${answer.model_digest.slice(0, 12)}`;
  $("explained").hidden = true;
  $("result").hidden = false;
  $("error").hidden = true;
}

function showEvidence(answer) {
  const bytes = Uint8Array.from(atob(answer.overlay_png), (letter) => letter.charCodeAt(0));
  URL.revokeObjectURL($("overlay").src);
  $("overlay").src = URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
  $("overlay").alt = `where the evidence for ${answer.class} lies`;
  $("evidence").textContent = answer.has_evidence
    ? `Bright: what speaks for ${answer.class}, in the part of the picture that the model sees.`
    : `Nothing in the picture speaks for ${answer.class}.`;
  $("explained").hidden = false;
}

function complain(message) {
  $("error").textContent = message;
  $("error").hidden = false;
  $("result").hidden = true;
}

// Asks about a picture and shows the answer, unless another question came meanwhile.
async function ask(path, { body, type }, show) {
  const turn = ++latest;
  main.classList.add("busy");
  try {
    const answer = await fetch(path, { method: "POST", body, headers: { "Content-Type": type } });
    const json = await answer.json();
    if (turn === latest) answer.ok ? show(json) : complain(json.error.message);
  } catch {
    if (turn === latest) complain("The node does not answer. Is it still running?");
  } finally {
    if (turn === latest) main.classList.remove("busy");
  }
}

function classify(body, type) {
  asked = { body, type };
  ask(`classify${query()}`, asked, show);
}

function explain(name) {
  ask(`explain${query({ class: name })}`, asked, showEvidence);
}

function take(file) {
  if (!file) return;
  URL.revokeObjectURL($("preview").src);
  $("preview").src = URL.createObjectURL(file);
  $("preview").hidden = false;
  $("hint").hidden = true;
  classify(file, file.type.startsWith("image/") ? file.type : "application/octet-stream");
}

$("file").addEventListener("change", () => { take($("file").files[0]); $("file").value = ""; });
$("preview").addEventListener("error", () => { $("preview").hidden = true; $("hint").hidden = false; });
$("drop").addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") $("file").click(); });
document.addEventListener("dragover", (event) => { event.preventDefault(); $("drop").classList.add("over"); });
document.addEventListener("dragleave", () => $("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  take(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => take(event.clipboardData.files[0]));
$("by-url").addEventListener("submit", (event) => {
  event.preventDefault();
  $("preview").hidden = true;
  $("hint").hidden = false;
  classify(JSON.stringify({ url: $("url").value }), "application/json");
});
$("endpoint").addEventListener("change", listEndpoints);
listEndpoints();
setInterval(listEndpoints, 5000);
