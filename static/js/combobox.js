// Comboboxes after the ARIA Authoring Practices: an editable field with a list of matches.
// htmx fetches the matches into the popup; this file opens, walks and closes it.
const inputOf = (box) => box.querySelector("input");
const popupOf = (box) => box.querySelector(".combobox-popup");
const optionsOf = (box) => [...popupOf(box).querySelectorAll("[role=option]")];
const activeOf = (box) => popupOf(box).querySelector("[aria-selected=true]");

// The text of each field when its list was last requested: with other text, a request is pending.
const askedFor = new WeakMap();
// Fields that were left with Escape while their list was loading: it stays closed.
const left = new WeakSet();

const makeCombobox = (box) => {
  const input = inputOf(box);
  askedFor.set(input, input.value);
  input.setAttribute("role", "combobox");
  input.setAttribute("aria-autocomplete", "list");
  input.setAttribute("aria-expanded", "false");
  input.setAttribute("aria-controls", popupOf(box).id);
};

const open = (box) => {
  popupOf(box).hidden = false;
  inputOf(box).setAttribute("aria-expanded", String(optionsOf(box).length > 0));
  inputOf(box).setAttribute("aria-controls", popupOf(box).querySelector("[role=listbox]")?.id ?? popupOf(box).id);
};

const close = (box) => {
  popupOf(box).hidden = true;
  inputOf(box).setAttribute("aria-expanded", "false");
  activate(box, null);
};

const activate = (box, option) => {
  activeOf(box)?.setAttribute("aria-selected", "false");
  if (!option) return inputOf(box).removeAttribute("aria-activedescendant");
  option.setAttribute("aria-selected", "true");
  option.scrollIntoView({ block: "nearest" });
  inputOf(box).setAttribute("aria-activedescendant", option.id);
};

const choose = (box, option) => {
  const input = inputOf(box);
  fill(input, option.dataset.value);
  close(box);
  const branch = input.form.elements.branch;
  if (input.name === "repository" && branch) fill(branch, option.dataset.branch ?? "");
};

const fill = (input, value) => {
  input.value = value;
  askedFor.set(input, value);
};

const isWaiting = (box) => {
  const input = inputOf(box);
  if (left.has(input)) return false;
  return input.classList.contains("htmx-request") || askedFor.get(input) !== input.value;
};

const showWaiting = (box) => {
  const note = document.createElement("p");
  note.className = "combobox-note";
  note.setAttribute("role", "status");
  note.textContent = box.dataset.waiting;
  popupOf(box).replaceChildren(note);
  open(box);
};

const move = (box, step) => {
  if (popupOf(box).hidden) return ask(box);
  const options = optionsOf(box);
  const at = options.indexOf(activeOf(box));
  const next = at < 0 ? (step > 0 ? 0 : options.length - 1) : (at + step + options.length) % options.length;
  activate(box, options[next] ?? null);
};

const ask = (box) => htmx.trigger(inputOf(box), "combobox:open");

const leave = (box) => {
  left.add(inputOf(box));
  close(box);
};

const keys = {
  ArrowDown: (box) => move(box, 1),
  ArrowUp: (box) => move(box, -1),
  Escape: leave,
  Enter: (box) => choose(box, activeOf(box)),
};

document.addEventListener("keydown", (event) => {
  const box = event.target.closest("[data-combobox]");
  if (!box || !(event.key in keys)) return;
  if (event.key === "Enter" && isWaiting(box)) return event.preventDefault();
  // Enter submits the form and Escape leaves it, unless the list is open and handles them.
  const needsList = event.key === "Enter" ? !activeOf(box) : event.key === "Escape" && popupOf(box).hidden && !isWaiting(box);
  if (needsList) return;
  event.preventDefault();
  keys[event.key](box);
});

document.addEventListener("mousedown", (event) => {
  const option = event.target.closest("[data-combobox] [role=option]");
  if (option) event.preventDefault(); // the field keeps the focus
});

document.addEventListener("click", (event) => {
  const box = event.target.closest("[data-combobox]");
  const option = event.target.closest("[role=option]");
  if (box && option) choose(box, option);
  else if (box && event.target === inputOf(box) && popupOf(box).hidden) ask(box);
});

document.addEventListener("focusout", (event) => {
  const box = event.target.closest("[data-combobox]");
  if (box && !box.contains(event.relatedTarget)) close(box);
});

document.addEventListener("input", (event) => left.delete(event.target));

// Opening the list shows everything; typing narrows it down.
document.addEventListener("htmx:configRequest", (event) => {
  const input = event.target;
  if (event.detail.triggeringEvent?.type === "combobox:open") event.detail.parameters[input.name] = "";
});

document.addEventListener("htmx:beforeRequest", (event) => {
  const box = event.target.closest("[data-combobox]");
  if (!box) return;
  left.delete(inputOf(box));
  askedFor.set(inputOf(box), inputOf(box).value);
  if (box.dataset.waiting && popupOf(box).hidden) showWaiting(box);
});

for (const failure of ["htmx:responseError", "htmx:sendError"]) {
  document.addEventListener(failure, (event) => {
    const box = event.target.closest("[data-combobox]");
    if (box) close(box);
  });
}

document.addEventListener("htmx:afterSwap", (event) => {
  const box = event.target.closest("[data-combobox]");
  if (!box) return;
  inputOf(box).removeAttribute("aria-activedescendant");
  if (document.activeElement === inputOf(box) && !left.has(inputOf(box))) open(box);
});

const makeAll = () => document.querySelectorAll("[data-combobox]").forEach(makeCombobox);
document.addEventListener("DOMContentLoaded", makeAll);
