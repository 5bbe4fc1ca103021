// Forms: Save waits for the required fields; Copy puts a text or a password on the clipboard.
const updateSave = () => {
  for (const form of document.querySelectorAll("[data-save-when-filled]")) {
    const required = [...form.querySelectorAll("[required]")];
    form.querySelector("button.primary").disabled = required.some((field) => !field.value.trim());
  }
};

const showCopyButtons = () => {
  for (const button of document.querySelectorAll("[data-copy], [data-copy-password]")) {
    button.hidden = !navigator.clipboard;
  }
};

const enhance = () => {
  updateSave();
  showCopyButtons();
};

// A typed token survives an answer that shows the form again; the answer itself never holds it.
const secretsTyped = new Map();

const keepSecrets = () => {
  secretsTyped.clear();
  for (const field of document.querySelectorAll("input[type=password]")) secretsTyped.set(field.id, field.value);
};

const giveSecretsBack = () => {
  for (const [id, value] of secretsTyped) {
    const field = document.getElementById(id);
    if (field) field.value = value;
  }
  secretsTyped.clear();
};

// The password is requested only when it is copied, so that each access is recorded.
const readPassword = async (button) => {
  const card = button.closest("article");
  const shown = card.querySelector(".password:not(.masked)");
  if (shown) return shown.textContent;
  const response = await fetch(button.dataset.copyPassword, {
    method: "POST",
    headers: {
      "X-CSRFToken": card.querySelector("[name=csrfmiddlewaretoken]").value,
      "HX-Request": "true",
    },
  });
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  const answer = new DOMParser().parseFromString(await response.text(), "text/html");
  return answer.querySelector(".password:not(.masked)").textContent;
};

const say = (button, text) => {
  const label = button.dataset.label ?? button.textContent;
  button.dataset.label = label;
  button.textContent = text;
  setTimeout(() => (button.textContent = label), 2000);
};

// Who sent a form goes on where it continues: at the first wrong field, else at the step's heading.
const focusFirst = () => {
  const wrong = document.querySelector(".field-wrong :is(input:not([type=hidden]), select, textarea)");
  (wrong ?? document.querySelector("[data-focus-first]"))?.focus();
};

document.addEventListener("input", updateSave);
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], [data-copy-password]");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(button.dataset.copy ?? (await readPassword(button)));
    say(button, "Copied");
  } catch {
    say(button, "Not copied");
  }
});
document.addEventListener("DOMContentLoaded", enhance);
document.addEventListener("DOMContentLoaded", focusFirst);
document.addEventListener("htmx:beforeSwap", (event) => event.detail.boosted && keepSecrets());
document.addEventListener("htmx:afterSwap", (event) => event.detail.boosted && giveSecretsBack());
document.addEventListener("htmx:afterSettle", enhance);
document.addEventListener("htmx:afterSettle", (event) => event.detail.boosted && focusFirst());
