"use strict";
// Keys for labels: the key that stands on a button presses it, unless somebody writes into a field.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.matches("input, textarea, select, a, summary") || (event.key === "Enter" && event.target.matches("button"))) return;
  const button = [...document.querySelectorAll("button[data-key]")].find((each) => each.dataset.key === event.key);
  if (!button) return;
  event.preventDefault();
  button.form.requestSubmit(button);
  document.querySelectorAll("button[data-key]").forEach((each) => setTimeout(() => { each.disabled = true; }, 0));
});
