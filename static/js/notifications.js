// Notifications: announce those that came with the page, close them, remove the faded ones.
const region = () => document.getElementById("notifications");

// Screen readers announce what is added to a live region, not what it contains from the start.
const announce = () => {
  const toasts = [...region().children];
  region().replaceChildren();
  setTimeout(() => {
    region().append(...toasts);
    showCloseButtons();
    removeRepeats();
  }, 50);
};

// A repeated notification replaces the earlier one.
const removeRepeats = () => {
  const said = new Set();
  for (const toast of [...region().children].reverse()) {
    const text = toast.querySelector("p").textContent;
    if (said.has(text)) toast.remove();
    said.add(text);
  }
};

const showCloseButtons = () => {
  for (const button of region().querySelectorAll(".toast-close")) button.hidden = false;
};

document.addEventListener("click", (event) => {
  const button = event.target.closest(".toast-close");
  if (button) button.closest(".toast").remove();
});

document.addEventListener("animationend", (event) => {
  if (event.animationName === "toast-out") event.target.remove();
});

document.addEventListener("DOMContentLoaded", () => {
  showCloseButtons();
  announce();
});
document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.boosted) announce();
});
document.addEventListener("htmx:afterSettle", showCloseButtons);
document.addEventListener("htmx:oobAfterSwap", () => {
  showCloseButtons();
  removeRepeats();
});
