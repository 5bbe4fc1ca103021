// Comboboxes after the ARIA Authoring Practices: an editable field with a list of matches.
// htmx fetches the matches into the popup; this file opens, walks and closes it.
const inputOf = (box) => box.querySelector("input");
const popupOf = (box) => box.querySelector(".combobox-popup");
const optionsOf = (box) => [...popupOf(box).querySelectorAll("[role=option]")];
const activeOf = (box) => popupOf(box).querySelector("[aria-selected=true]");

const makeCombobox = (box) => {
  const input = inputOf(box);
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
  input.value = option.dataset.value;
  close(box);
  const branch = input.form.elements.branch;
  if (input.name === "repository" && branch) branch.value = option.dataset.defaultBranch ?? "";
};

const move = (box, step) => {
  if (popupOf(box).hidden) return ask(box);
  const options = optionsOf(box);
  const at = options.indexOf(activeOf(box));
  const next = at < 0 ? (step > 0 ? 0 : options.length - 1) : (at + step + options.length) % options.length;
  activate(box, options[next] ?? null);
};

const ask = (box) => htmx.trigger(inputOf(box), "combobox:open");

const keys = {
  ArrowDown: (box) => move(box, 1),
  ArrowUp: (box) => move(box, -1),
  Escape: close,
  Enter: (box) => choose(box, activeOf(box)),
};

document.addEventListener("keydown", (event) => {
  const box = event.target.closest("[data-combobox]");
  if (!box || !(event.key in keys)) return;
  // Enter sends the form and Escape leaves it, unless the list is there to take them.
  const needsList = event.key === "Enter" ? !activeOf(box) : event.key === "Escape" && popupOf(box).hidden;
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

// Opening the list shows everything; typing narrows it down.
document.addEventListener("htmx:configRequest", (event) => {
  const input = event.target;
  if (event.detail.triggeringEvent?.type === "combobox:open") event.detail.parameters[input.name] = "";
});

document.addEventListener("htmx:afterSwap", (event) => {
  const box = event.target.closest("[data-combobox]");
  if (!box) return;
  inputOf(box).removeAttribute("aria-activedescendant");
  if (document.activeElement === inputOf(box)) open(box);
});

const makeAll = () => document.querySelectorAll("[data-combobox]").forEach(makeCombobox);
document.addEventListener("DOMContentLoaded", makeAll);
