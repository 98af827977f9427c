// The script of the page: refreshes it, and opens a dialog for actions. Without the script, the page still
// shows its list. `deno task dashboard:assets` puts it into assets.ts.

const $ = (id) => document.getElementById(id);
const view = $("view");
const stale = $("stale");
const said = $("said");
const filters = $("filters");
const dialog = $("dialog");
const POLL_MS = Number(document.body.dataset.pollMs);
/** Without the credentials of the page's address, which fetch() refuses. */
const ADDRESS = location.origin + location.pathname;
/** The time after which a dashboard counts as unreachable, in ms. */
const TIMEOUT_MS = 15_000;

document.documentElement.classList.add("js");
// On a phone the circuits come first, unless the user is searching.
const looking = [...new FormData(filters)].some(([, value]) => value !== "");
$("filtering").open = looking || !matchMedia("(max-width: 48rem)").matches;

// Refreshing ---------------------------------------------------------------------------------------

let timer = 0;
let freshAt = Date.now();
/** The server's clock minus this one, in ms. */
let offset = 0;
/** Counts requests for the view: only the answer to the last one is shown. */
let asked = 0;

/** Requests the view, and shows it or an error. */
async function refresh() {
  clearTimeout(timer);
  const number = ++asked;
  let trouble = "";
  try {
    const response = await fetch(ADDRESS + location.search, {
      headers: { "fuse-fragment": "view" },
      cache: "no-store",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const text = await response.text();
    if (number !== asked) return;
    const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("view");
    if (fresh) show(fresh);
    else trouble = TROUBLES[response.status] ?? `it answers with status ${response.status}`;
  } catch {
    if (number !== asked) return;
    trouble = "it does not answer";
  }
  tell(
    stale,
    trouble && `This is not up to date: ${trouble}. Last refreshed at ${clock(freshAt)}.`,
  );
  document.body.classList.toggle("stale", trouble !== "");
  timer = setTimeout(poll, POLL_MS);
}

const TROUBLES = {
  200: "the answer is not the dashboard's",
  401: "you are not signed in any more",
  403: "it does not let you in any more",
};

/** A hidden page does not refresh until it is visible again. */
function poll() {
  if (!document.hidden) refresh();
}

function show(fresh) {
  const focused = document.activeElement;
  morph(view, fresh);
  // A row that moved has lost the focus.
  if (focused?.isConnected && focused !== document.activeElement) focused.focus();
  freshAt = Date.now();
  settle();
}

/** Reads the server's time and the number of open circuits. */
function settle() {
  offset = Number(view.dataset.now) - Date.now();
  const open = Number($("summary")?.dataset.open ?? 0);
  document.title = (open > 0 ? `(${open} open) ` : "") + document.body.dataset.title;
  tick();
}

/** Shows a text once, because a screen reader reads it whenever it changes. */
function tell(element, text) {
  if (element.textContent !== text) element.textContent = text;
  element.hidden = text === "";
}

/** Makes an element equal to another, and keeps equal parts with their focus, selection and scrolling. */
function morph(old, fresh) {
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  const named = new Map([...old.children].filter(({ id }) => id).map((child) => [child.id, child]));
  let at = old.firstChild;
  for (const next of [...fresh.childNodes]) {
    const same = next.id ? named.get(next.id) : at && !at.id && alike(at, next) ? at : undefined;
    if (same === undefined || !alike(same, next)) {
      old.insertBefore(document.adoptNode(next), at);
      continue;
    }
    if (same === at) at = at.nextSibling;
    else old.insertBefore(same, at);
    if (same.nodeType === Node.ELEMENT_NODE) morph(same, next);
    else if (same.data !== next.data) same.data = next.data;
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function alike(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName;
}

// Time ---------------------------------------------------------------------------------------------

/** Shows instants as relative times, and updates them. */
function tick() {
  const now = Date.now() + offset;
  for (const time of view.querySelectorAll("time")) {
    const at = Date.parse(time.dateTime);
    const words = at > now ? `in ${span(at - now)}` : `${span(now - at)} ago`;
    if (time.textContent !== words) time.textContent = words;
    time.title = new Date(at).toLocaleString();
  }
  tell($("live"), `refreshed ${span(Date.now() - freshAt)} ago`);
}

function span(ms) {
  const s = Math.round(ms / 1000);
  if (s < 90) return `${s} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  if (s < 129_600) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86_400)} days`;
}

function clock(at) {
  return new Date(at).toLocaleTimeString();
}

// Going elsewhere ----------------------------------------------------------------------------------

/** Shows another part of the list, or another circuit, without reloading the page. */
async function go(search, back = false) {
  if (!back) history.pushState(null, "", location.pathname + search);
  const parameters = new URLSearchParams(location.search);
  for (const field of filters.elements) {
    if (field.name) field.value = parameters.get(field.name) ?? "";
  }
  document.body.classList.add("busy");
  await refresh();
  document.body.classList.remove("busy");
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button.act");
  if (button) return open(button);
  const link = event.target.closest("a[href^='?']");
  if (!link || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  go(link.getAttribute("href")).then(() => $("detail")?.scrollIntoView({ block: "nearest" }));
});

filters.addEventListener("submit", (event) => {
  event.preventDefault();
  const given = [...new FormData(filters)].filter(([, value]) => value !== "");
  go(`?${new URLSearchParams(given)}`);
});
filters.addEventListener("change", ({ target }) => {
  if (target.tagName === "SELECT") filters.requestSubmit();
});

addEventListener("popstate", () => go(location.search, true));
document.addEventListener("visibilitychange", poll);
addEventListener("online", poll);

// Acting -------------------------------------------------------------------------------------------

/** The circuit of the dialog. */
let target = { store: "", key: "" };

function open({ dataset }) {
  const order = $("order");
  order.reset();
  target = { store: dataset.store, key: dataset.key };
  $("dialog-circuit").textContent = dataset.title;
  $("dialog-store").textContent = `in ${dataset.store}`;
  if (dataset.overridden === "yes") order.querySelector("[value=release]").checked = true;
  tell($("dialog-error"), "");
  adapt();
  dialog.showModal();
}

/** Requires an end for actions that have one. */
function adapt() {
  const { elements } = $("order");
  const chosen = dialog.querySelector("[name=action]:checked");
  const ends = chosen?.dataset.ends === "yes";
  $("ends").hidden = elements.end.disabled = !ends;
  const minutes = ends && elements.end.value === "minutes";
  $("minutes").hidden = elements.minutes.disabled = !minutes;
  $("do").textContent = chosen?.closest("label").querySelector("b").textContent ?? "Do it";
}

function orderOf({ reason, end, minutes }) {
  if (end.disabled || end.value === "none") return { reason: reason.value };
  const forMs = end.value === "minutes" ? minutes.value * 60_000 : Number(end.value);
  return { reason: reason.value, forMs };
}

/** Returns a text as a segment of a path; URLs drop the segments `.` and `..`. */
function segment(text) {
  return encodeURIComponent(/^\.{1,2}$/.test(text) ? text.replaceAll(".", "%2E") : text);
}

async function act() {
  const { elements } = $("order");
  const action = elements.action.value;
  const path = [target.store, target.key, action].map(segment).join("/");
  $("do").disabled = true;
  try {
    const response = await fetch(`${ADDRESS.replace(/\/+$/, "")}/api/circuits/${path}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(orderOf(elements)),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(answer.error ?? `The dashboard answers ${response.status}`);
    dialog.close();
    tell(said, answer.explanation ?? `${$("dialog-circuit").textContent} is removed`);
    await refresh();
  } catch (error) {
    const timeout = error.name === "TimeoutError" || error instanceof TypeError;
    const words = "The dashboard does not answer: look whether it is done before you try again";
    tell($("dialog-error"), timeout ? words : error.message);
  } finally {
    $("do").disabled = false;
  }
}

if (dialog) {
  $("order").addEventListener("submit", (event) => {
    event.preventDefault();
    act();
  });
  $("order").addEventListener("change", adapt);
  $("cancel").addEventListener("click", () => dialog.close());
}

settle();
setInterval(tick, 1000);
timer = setTimeout(poll, POLL_MS);
