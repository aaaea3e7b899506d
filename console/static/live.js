"use strict";
// Panels that change while a page is open: the server sends the new HTML of a panel, this puts it in its place.
(() => {
  const main = document.querySelector("main[data-events]");
  if (!main) return;
  const state = document.getElementById("live-state");
  const pause = document.getElementById("pause");
  const waiting = new Map();
  let source = null;
  let paused = false;

  // Not under somebody's hands: a panel waits while a field of it has the focus, is pressed, or holds what was entered.
  const entered = (field) =>
    field.options ? field.selectedIndex !== Math.max(0, [...field.options].findIndex((each) => each.defaultSelected))
      : field.value !== field.defaultValue || field.checked !== field.defaultChecked;
  const busy = (panel) =>
    panel.contains(document.activeElement) && document.activeElement.matches("input, select, textarea, button, summary")
    || panel.matches(":active") || [...panel.querySelectorAll("input, select, textarea")].some(entered);

  const show = (name, html) => {
    const panel = document.getElementById(name);
    if (!panel) return;
    if (busy(panel)) { waiting.set(name, html); return; }
    const open = [...panel.querySelectorAll("details")].map((each) => each.open);
    const log = panel.querySelector("pre.log");
    const follows = log && log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
    panel.innerHTML = html;
    panel.querySelectorAll("details").forEach((each, index) => { each.open = open[index] || each.open; });
    const now = panel.querySelector("pre.log");
    if (now && (follows || !log)) now.scrollTop = now.scrollHeight;
    panel.dispatchEvent(new CustomEvent("shown", { bubbles: true }));
  };

  const catchUp = () => setTimeout(() => {
    for (const [name, html] of [...waiting]) { waiting.delete(name); show(name, html); }
  }, 0);
  ["focusout", "change", "click"].forEach((kind) => document.addEventListener(kind, catchUp));

  const follow = () => {
    source = new EventSource(main.dataset.events);
    source.addEventListener("open", () => { state.textContent = `live, every ${Number(main.dataset.every)} s`; });
    source.addEventListener("error", () => { state.textContent = "not live: the console does not answer"; });
    source.addEventListener("panel", (event) => { const news = JSON.parse(event.data); show(news.name, news.html); });
  };

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "go on" : "pause";
    if (paused) { source.close(); state.textContent = "paused"; } else { follow(); }
  });
  // A browser allows few connections to a server: a page that nobody sees gives its own back.
  document.addEventListener("visibilitychange", () => {
    if (paused) return;
    if (document.hidden) { source.close(); state.textContent = "in the background"; } else { follow(); }
  });
  document.querySelectorAll("pre.log").forEach((each) => { each.scrollTop = each.scrollHeight; });
  follow();
})();
