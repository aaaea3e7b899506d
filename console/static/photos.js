"use strict";
// Photographs, dropped or chosen: each is sent as it is; then the page of their executions opens.
(() => {
  const drop = document.getElementById("drop");
  if (!drop) return;
  const files = document.getElementById("files");
  const progress = document.getElementById("progress");
  const account = drop.dataset.account;
  const most = 24;
  // What a browser without scripts needs.
  for (const name of ["by-form", "agree"]) { const part = document.getElementById(name); if (part) part.hidden = true; }

  const send = async (list) => {
    const chosen = [...list].slice(0, most);
    if (!chosen.length) return;
    if (account && !window.confirm(`Send ${chosen.length} photographs to account ${account} on AWS?`)) return;
    const runs = [];
    const troubles = [];
    for (const file of chosen) {
      progress.textContent = `sending ${runs.length + troubles.length + 1} of ${chosen.length}`;
      const where = new URLSearchParams({ name: file.name });
      if (account) where.set("sure", account);
      try {
        const answer = await fetch(`/photos/send?${where}`, {
          method: "POST", body: file,
          headers: { "x-csrf-token": document.querySelector("main").dataset.csrf, "content-type": "application/octet-stream" },
        });
        const kind = answer.headers.get("content-type") || "";
        const told = kind.includes("json") ? await answer.json() : { error: `${answer.status} ${answer.statusText}` };
        if (told.run) runs.push(told.run); else troubles.push(`${file.name}: ${told.error}`);
      } catch (error) {
        troubles.push(`${file.name}: ${error.message}`);
      }
    }
    progress.textContent = troubles.join("; ");
    if (runs.length && !troubles.length) location.assign(`/photos?${new URLSearchParams(runs.map((run) => ["run", run]))}`);
    if (runs.length && troubles.length) {
      const link = document.createElement("a");
      link.href = `/photos?${new URLSearchParams(runs.map((run) => ["run", run]))}`;
      link.textContent = ` see the ${runs.length} that were sent`;
      progress.append(link);
    }
  };

  drop.addEventListener("submit", (event) => { event.preventDefault(); send(files.files); });
  files.addEventListener("change", () => send(files.files));
  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    send(event.dataTransfer.files);
  });
})();
