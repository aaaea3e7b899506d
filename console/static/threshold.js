"use strict";
// The slider: what is chosen is asked of the server, which draws the panel anew; without this, the button does it.
(() => {
  let asked = 0;
  let timer = 0;

  const address = (form) => {
    const fields = new URLSearchParams(new FormData(form));
    for (const [name, value] of [...fields]) if (value === "" ) fields.delete(name);
    return `/threshold?${fields}`;
  };

  const look = async (form, name) => {
    const mine = ++asked;
    const where = address(form);
    const answer = await fetch(where);
    if (!answer.ok || mine !== asked) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const panel of ["effect", "traffic"]) {
      const fresh = page.getElementById(panel);
      const old = document.getElementById(panel);
      if (fresh && old) old.replaceChildren(...fresh.childNodes);
    }
    history.replaceState(null, "", where);
    const again = document.querySelector(`#try [name="${name}"]`) || document.getElementById(name);
    if (again) again.focus();
  };

  document.addEventListener("input", (event) => {
    const form = event.target.closest("#try");
    if (!form) return;
    const range = form.querySelector("input[type=range]");
    const exact = document.getElementById("exact");
    if (event.target === range) exact.value = range.value;
    if (event.target === exact && exact.value !== "") { range.step = "any"; range.min = Math.min(0.5, exact.value); range.value = exact.value; }
    document.getElementById("chosen").textContent = range.value;
    clearTimeout(timer);
    timer = setTimeout(() => look(form, event.target.name || event.target.id), 120);
  });
})();
